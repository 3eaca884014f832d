"""What the command line explore.py names, opened."""

from figures import arguments, latent_files
from figures.editing import directions
from figures.explorer.render import Renderer
from figures.explorer.state import NUM_SLIDERS


def open_renderer(args):
    """The `Renderer` that the options name. Raises UserError."""
    gen, facts = arguments.open_generator(args)
    gen.progress = False
    arguments.choose_labels(gen, facts, args)
    facts.asked_label = args.labels
    photos = latent_files.read(args.latents, gen, facts.sha256) if args.latents else None
    found = []
    if gen.is_style_based:
        found = directions.principal_components(directions.sample_dlatents(gen), NUM_SLIDERS)
    return Renderer(gen, facts, found, photos)
