"""What the command line explore.py names, opened."""

from dnnlib.errors import UserError
from figures import arguments, latent_files
from figures.editing import sources
from figures.explorer.render import Renderer
from figures.explorer.state import NUM_SLIDERS


def open_renderer(args):
    """The `Renderer` that the options name. Raises UserError."""
    gen, facts = arguments.open_generator(args)
    gen.progress = False
    arguments.choose_labels(gen, facts, args)
    facts.asked_label = args.labels
    photos = latent_files.read(args.latents, gen, facts.sha256) if args.latents else None
    return Renderer(gen, facts, _directions(args, gen, facts), photos)


def _directions(args, gen, facts):
    if not gen.is_style_based and args.directions is None and args.sliders is None:
        return []
    size = gen.dlatent_avg.shape[-1] if gen.is_style_based else NUM_SLIDERS
    found = sources.load(args.directions or f'pca:{min(NUM_SLIDERS, size)}', gen, facts.sha256)
    names = list(found)[:NUM_SLIDERS] if args.sliders is None else [name.strip() for name in args.sliders.split(',')]
    unknown = [name for name in names if name not in found]
    if unknown or len(names) > NUM_SLIDERS:
        raise UserError(f'--sliders takes at most {NUM_SLIDERS} names of directions; there are '
                        f"{', '.join(found)[:400]}")
    return [found[name] for name in names]
