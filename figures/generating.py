"""What generate.py makes: images, one per seed or row of latents, the same edited, and videos."""

import json
import os
import re

import numpy as np

from dnnlib.errors import UserError
from dnnlib.files import recall_json, sha256_file
from figures import composing, latent_files, layouts, rendering, sheet
from figures.editing import edits, shares, sources

RECORD = 'images.json'
PICTURE = re.compile(r'(seed|latents)\d{4,}\.png$|strips\.png$')
PROTOCOL = ('sha256', 'labels', 'psi', 'cutoff', 'noise', 'latents_sha256', 'edit', 'hold', 'directions',
            'directions_sha256', 'layers')
AT_ONCE = 64                            # images kept in memory
STRIP = (-1.0, -0.5, 0.0, 0.5, 1.0)     # shares of an edit that a strip shows


class Order:
    """What a command line asks of a generator.

    Args:
        gen, facts: see `figures.arguments.open_generator`.
        args: parsed options of generate.py.
    """

    def __init__(self, gen, facts, args):
        self.gen, self.facts, self.args = gen, facts, args
        self.found = None if args.latents is None else latent_files.read(args.latents, gen, facts.sha256)
        self.numbers = args.seeds if self.found is None else list(range(self.found.count))
        self.kind = 'seed' if self.found is None else 'latents'
        self.layers = None if args.layers is None else edits.parse_layers(args.layers, gen.num_layers)
        self.directions = None
        if args.directions is not None:
            self.directions = sources.load(args.directions, gen, facts.sha256)
        self.edits = [] if args.edit is None else edits.parse(
            args.edit, self.directions, [name.strip() for name in args.hold.split(',')] if args.hold else [])
        self.record = dict(facts, psi=args.psi, cutoff=args.cutoff, noise=args.noise)
        for option in ('latents', 'directions'):
            path = getattr(args, option)
            if path is not None and os.path.isfile(path):
                self.record[f'{option}_sha256'] = sha256_file(path)
        if self.edits:
            self.record.update(edit=args.edit, hold=args.hold, directions=args.directions, layers=self.layers)

    def images(self, numbers, share=1.0):
        """Images uint8 [N, H, W, C] of some of the numbers, moved by a share of the edits."""
        gen, args = self.gen, self.args
        if not self.edits:
            if self.found is None:
                return rendering.images_of_seeds(gen, numbers, args.psi, args.cutoff, args.noise)
            return rendering.images_of_latents(gen, self.found, numbers, args.psi, args.cutoff, args.noise)
        found = self.found
        if found is None:
            z = np.concatenate([gen.latents(seed) for seed in numbers])
            found = latent_files.Latents(gen.dlatents(z, gen.labels_of(numbers)), noise_seeds=np.array(numbers))
            numbers = range(len(numbers))
        w = found.w if args.psi == 1 else gen.truncate(found.w, args.psi, args.cutoff)
        moved = latent_files.Latents(edits.move(w, self.edits, share, self.layers), noise=found.noise,
                                     noise_seeds=found.noise_seeds)
        return rendering.images_of_latents(gen, moved, numbers, 1, None, args.noise)

    def is_among_others(self, folder):
        """Whether a folder holds images that were made otherwise: by another network, of other latents, and so on."""
        record = recall_json(os.path.join(folder, RECORD))
        ours = json.loads(json.dumps([self.record.get(key) for key in PROTOCOL]))
        return record is not None and [record.get(key) for key in PROTOCOL] != ours

    def would_mix(self, folder):
        """Whether such images would stay there beside those made now, not being replaced by any of them."""
        ours = {self.name(number) for number in self.numbers} | ({'strips.png'} if self.edits else set())
        return self.is_among_others(folder) and any(
            PICTURE.match(name) and name not in ours for name in os.listdir(folder))

    def name(self, number):
        """The file of a number's image."""
        return f'{self.kind}{number:04d}.png'


def without_effect(gen, args):
    """Sentences about options that were given, and of which this network makes no use."""
    found = []
    if args.asks_psi and not gen.is_style_based:
        found.append('--psi changes nothing, for the network has no w')
    if args.noise != 'stored' and not gen.has_noise:
        found.append(f'--noise {args.noise} changes nothing, for the network has no noise inputs')
    return found


def write_images(order):
    """Stores all images, contact sheets, a page and a record, and strips of edits. Returns a sentence."""
    gen, args = order.gen, order.args
    args.outdir = sheet.place_for(args.outdir, order.would_mix if args.is_named else order.is_among_others,
                                   args.is_named)
    # First, so that whatever comes next does not take for its own what is left if this is ended.
    sheet.write_record(os.path.join(args.outdir, RECORD), dict(
        order.record, **({'seeds': args.seeds} if order.found is None else {'latents': args.latents})))
    sheets = sheet.ContactSheets(args.outdir, len(order.numbers))
    strips = []
    for begin in range(0, len(order.numbers), AT_ONCE):
        some = order.numbers[begin:begin + AT_ONCE]
        for number, image in zip(some, order.images(some)):
            picture = composing.to_picture(image)
            sheet.save_picture(picture, os.path.join(args.outdir, order.name(number)))
            sheets.add(_small(gen, picture))
        if order.edits and len(strips) < AT_ONCE:
            columns = [[_small(gen, composing.to_picture(image)) for image in order.images(some, share)]
                       for share in STRIP]
            strips += list(zip(*columns))
    if strips:
        sheet.save_picture(composing.grid(strips[:AT_ONCE], gap=2), os.path.join(args.outdir, 'strips.png'))
    pages = sheet.write_cells(args.outdir, f'Images of {sheet.without_folders(order.facts.network)}',
                              sheet.told(order.record), [order.name(number) for number in order.numbers],
                              [f'{order.kind} {number}' for number in order.numbers],
                              max(min(gen.resolution, 192), layouts.FACE), layouts.zoom_of(gen.resolution) > 1)
    more = f' (of {len(sheets.names)} sheets and {pages} pages)' if len(sheets.names) > 1 else ''
    also = ', strips.png from the opposite of the edit to all of it' if strips else ''
    return f'{len(order.numbers)} images, sheet.png and index.html{more}{also} are in {args.outdir}'


def _small(gen, picture):
    """A picture as sheets show it."""
    return composing.zoomed(composing.shrink(picture, max(gen.resolution // 128, 1)), layouts.zoom_of(gen.resolution))


def write_video(order):
    """Stores a video that loops, and its record. Returns a sentence. Raises UserError."""
    from figures.videos import kinds, writer
    gen, args = order.gen, order.args
    if order.found is not None:
        raise UserError('--video goes through --seeds, not through --latents')
    count = int(round(args.seconds * args.fps))
    if count < 2:
        raise UserError(f'--seconds {args.seconds:g} at --fps {args.fps:g} are {count} frames; two at least are needed')
    move = None
    if order.edits:
        def move(w, share, layers):
            return edits.move(w, order.edits, share, layers)
    frames = kinds.frames(args.video, gen, order.numbers, count, args.psi, args.cutoff, args.space, args.curve,
                          args.noise, order.layers, move)
    path = os.path.join(args.outdir, f'{args.video}.mp4')
    writer.write(path, frames, args.fps)
    sheet.write_record(os.path.join(args.outdir, f'{args.video}.json'), dict(
        order.record, seeds=args.seeds, video=args.video, frames=count, fps=args.fps, space=args.space,
        curve=args.curve, noise=args.noise))
    return f'{path}: {count} frames, {count / args.fps:g} s, which loop'


def write_shares(order, answers, source):
    """Stores a table and a plot of how often classifiers' answers change as edits ask. Returns a sentence."""
    args = order.args
    found = shares.measure(order.gen, order.directions, answers, args.psi, args.cutoff, order.layers)
    note = (f'{shares.SAMPLES} samples of {order.facts.name} (seed 0, psi {args.psi:g}), '
            f'{source} classifiers, stored noise.')
    table, plot = shares.store(args.outdir, found, note)
    sheet.write_record(os.path.join(args.outdir, 'edits.json'), dict(
        order.record, directions=args.directions, classifiers=source, samples=shares.SAMPLES,
        shares={name: {f'{strength:g}': cell for strength, cell in row.items()} for name, row in found.items()}))
    return f'{table} and {plot}: {len(found)} attributes'
