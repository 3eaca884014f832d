"""Figures 4 to 10 of "An Acceleration Framework for High Resolution Image Synthesis", with networks of one's own."""

import contextlib
import os

import numpy as np
from PIL import ImageDraw

import config as folders
from data.records.codec import find_codec, load_codec, minibatch_for, scale_of
from data.records.dataset import TFRecordDataset
from dnnlib import registry, tflib
from dnnlib.command_line import Parser, shown
from dnnlib.files import results_folder
from dnnlib.tflib import safe_pickle
from dnnlib.util import EasyDict, UserError, sha256_file
from figures import composing, drawing, sheet
from training.network_files import locate

EXAMPLES = '''examples:
  ./reproduce figures acceleration --codec results/00000-codec-h4 --dataset datasets/celebahq
  ./reproduce figures acceleration --before results/00005-baseline-256 --after results/00006-accel-256
'''
FACES = 4               # images of Figure 4
COLUMNS, ROWS = 6, 4    # of either half of Figures 5 to 9
PATHS, STEPS = 4, 8     # rows and columns of Figure 10
NUMBERS = {256: 5, 512: 6, 1024: 7}
LSUN_NUMBERS = {'bedroom': 8, 'church_outdoor': 9}
_SEED = 0
_HEADING = 20           # pixels above each half
_SMALLEST = 128         # pixels of an image on a figure


def parse_args(argv):
    parser = Parser(prog='./reproduce figures acceleration', description=__doc__ + ' What is drawn '
                                     'follows from what is given.', epilog=EXAMPLES)
    parser.add_argument('--codec', action='append', default=[], metavar='RUN|FILE', help='a codec, for images beside '
                        'their reconstructions (Figure 4); may be repeated, for several sizes of code')
    parser.add_argument('--dataset', metavar='DIR', help='data set of the images that codecs reconstruct')
    parser.add_argument('--before', metavar='NETWORK', help='the GAN of images, for uncurated samples of both '
                        '(Figures 5 to 9)')
    parser.add_argument('--after', metavar='NETWORK', help='the GAN of codes, for the same, and for interpolations of '
                        'its latents (Figure 10)')
    parser.add_argument('--outdir', default=shown(os.path.join(folders.result_dir, 'figures-acceleration')),
                        metavar='DIR', help='where they go (default: %(default)s)')
    parser.add_argument('--device', choices=['auto', 'cpu', 'gpu'], default='auto', help='what to compute on')
    registry.add_option(parser)
    args = parser.parse_args(argv)
    registry.allow_modules(args)
    if not (args.codec or args.after):
        raise UserError('nothing to draw: give --codec and --dataset, or --after with or without --before')
    if bool(args.codec) != bool(args.dataset):
        raise UserError('--codec and --dataset go together: codecs reconstruct the images of the data set')
    if args.before and not args.after:
        raise UserError('--before needs --after: Figures 5 to 9 show both')
    return args


def reconstructions(codecs, dataset_dir):
    """Images and what codecs leave of them, one codec per row below the images (Figure 4).

    codecs: paths of snapshots or run directories, drawn by size of code, the largest first. Raises UserError for a data
    set that the codecs do not fit.
    """
    paths = [find_codec(name) for name in codecs]
    states = sorted(((scale_of(load_codec(path)[0]), path) for path in paths), key=lambda found: found[0])
    with TFRecordDataset(dataset_dir, shuffle_mb=0, prefetch_mb=0) as data:
        if not data.is_image:
            raise UserError(f"'{dataset_dir}' holds samples of {data.shape} {data.dtype}; pictures are expected")
        pixels, _ = data.get_samples_np(np.arange(min(FACES, len(data))))
        side = data.resolution
    rows, labels, facts = [_pictures(pixels.transpose([0, 2, 3, 1]))], ['images'], []
    images = pixels.astype(np.float32) / np.float32(127.5) - np.float32(1)
    for scale, path in states:
        with tflib.tf.Graph().as_default(), tflib.create_session().as_default():
            F, H, _ = safe_pickle.load_network_pickle(path)
            if F.input_shape[1] != images.shape[1] or side % scale:
                raise UserError(f'{path} encodes images of {F.input_shape[1]} channel(s) whose sides {scale} divides; '
                                f"'{dataset_dir}' has {list(images.shape[1:])}")
            size = minibatch_for(side)
            decoded = H.run(F.run(images, minibatch_size=size), minibatch_size=size)
        error = float(np.mean(np.square(decoded - images), dtype=np.float64))
        shown_pixels = np.clip(np.rint((decoded + 1) * 127.5), 0, 255).astype(np.uint8)
        rows.append(_pictures(shown_pixels.transpose([0, 2, 3, 1])))
        labels.append(f'h/{scale} x w/{scale}: MSE {error:.2g}')
        facts.append(dict(path=os.path.abspath(path), sha256=sha256_file(path), downscale=scale, mse=error))
    return drawing.Figure('reconstructions', f'Figure 4: reconstructions at {side}x{side}',
                          'Top: images. Below: what codecs leave of them, by size of code; mean squared errors of '
                          'pixels in -1 to 1.', composing.grid(rows), None, [], [(text, 1) for text in labels], [],
                          dict(dataset=os.path.abspath(dataset_dir), codecs=facts))


def before_after(before, after, lsun_class_of):
    """Uncurated samples of the GAN of images on the left, of the GAN of codes on the right (Figures 5 to 9).

    lsun_class_of: function from a network's path to LSUN's name of the class that it was trained on, None for others.
    Raises UserError for networks of different resolutions.
    """
    halves, facts = [], {}
    for text, name in (('before', before), ('after', after)):
        with opened(name) as (gen, fact):
            images = gen.images(gen.latents(_SEED, COLUMNS * ROWS), psi=1, noise_seed=_SEED, title=text)
            facts[text], side = fact, gen.resolution
        halves.append(_headed(text, composing.grid([_pictures(part) for part in np.split(images, ROWS)])))
    if halves[0].size != halves[1].size:
        raise UserError(f'--before makes images of {facts["before"].resolution}x{facts["before"].resolution}, --after '
                        f'of {facts["after"].resolution}x{facts["after"].resolution}; two of the same are compared')
    number = LSUN_NUMBERS.get(lsun_class_of(facts['before'].path), NUMBERS.get(side))
    return drawing.Figure('before-after', (f'Figure {number}: ' if number else '') + f'samples at {side}x{side}',
                          f'{COLUMNS * ROWS} images of consecutive latents of seed {_SEED} from either GAN, none left '
                          'out: left of images, right of codes.',
                          composing.grid([halves], gap=halves[0].size[0] // 48), None, [], [], [], facts)


def latent_paths(after):
    """Straight lines between pairs of latents, one per row (Figure 10)."""
    with opened(after) as (gen, fact):
        ends = gen.latents(_SEED, 2 * PATHS).reshape([PATHS, 2, 1, -1])
        t = np.linspace(0, 1, STEPS)[np.newaxis, :, np.newaxis]
        latents = ends[:, 0] * (1 - t) + ends[:, 1] * t
        images = gen.images(latents.reshape([PATHS * STEPS, -1]), psi=1, noise='stored', title='interpolation')
    rows = [_pictures(part) for part in np.split(images, PATHS)]
    return drawing.Figure('latent-paths', 'Figure 10: interpolation of the input noise',
                          f'Each row: {STEPS} images on the straight line between two latents of seed {_SEED}.',
                          composing.grid(rows), None, [], [], [], fact)


@contextlib.contextmanager
def opened(name):
    """Yields (Generator, facts) of a network, in a graph and session of its own."""
    from figures.generator import Generator
    found = locate.locate(name).tell()
    with tflib.tf.Graph().as_default(), tflib.create_session().as_default():
        gen = Generator(locate.load_generator(found))
        yield gen, EasyDict(path=os.path.abspath(found.path), sha256=found.sha256, resolution=gen.resolution)


def _pictures(images):
    """PIL pictures of uint8 [N, H, W, C], enlarged where they are small."""
    return [composing.zoomed(composing.to_picture(image), max(_SMALLEST // len(image), 1)) for image in images]


def _headed(text, picture):
    result = composing.canvas(picture.size[0], picture.size[1] + _HEADING)
    ImageDraw.Draw(result).text((4, 4), text, fill='black')
    result.paste(picture, (0, _HEADING))
    return result


def main(argv, lsun_class_of):
    """Draws what the options say, with a page of it all. `lsun_class_of`: see `before_after`."""
    args = parse_args(argv)
    codecs = [find_codec(name) for name in args.codec]      # wrong names are told before TensorFlow is imported
    before, after = (name and locate.locate(name, option=option)
                     for name, option in ((args.before, '--before'), (args.after, '--after')))
    with results_folder(args.outdir, 'choose another one with --outdir'):
        _draw_all(args, codecs, before, after, lsun_class_of)


def _draw_all(args, codecs, before, after, lsun_class_of):
    tflib.select_device(args.device)
    found = [reconstructions(codecs, args.dataset)] if codecs else []
    found += [before_after(before, after, lsun_class_of)] if before else []
    found += [latent_paths(after)] if after else []
    blocks, record = [], {}
    for figure in found:
        path = sheet.save_picture(figure.picture, os.path.join(args.outdir, f'{figure.name}.png'))
        blocks.append(sheet.figure_block(path, figure.title, figure.caption, None, figure.column_labels,
                                         figure.row_labels))
        record[figure.name] = dict(figure.facts, title=figure.title, caption=figure.caption)
        print(f'{path}: {figure.title}')
    sheet.write_figures(os.path.join(args.outdir, 'index.html'), 'Figures of the acceleration framework', {}, blocks)
    sheet.write_record(os.path.join(args.outdir, 'figures.json'), dict(figures=record))
    print(f'All on one page: {os.path.join(args.outdir, "index.html")}')
