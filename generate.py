"""Writes images of a trained generator, one per seed, and a page that shows them all."""

import argparse
import os

import check_python  # noqa: F401
import config as folders
from dnnlib.command_line import HelpFormatter, shown
from dnnlib.files import make_writable_folder
from dnnlib.util import run_main

EXAMPLES = '''examples:
  python generate.py --network results/00003-demo --seeds 0-99
  python generate.py --network ffhq-1024 --seeds 0-99 --psi 0.5 --outdir results/faces
  python generate.py --network network-snapshot-000120.pkl --seeds 1,5,7-9 --class 3 --noise random
'''
AT_ONCE = 64  # images kept in memory


def parse_args(argv=None):
    from figures import arguments
    parser = argparse.ArgumentParser(description=__doc__, epilog=EXAMPLES, formatter_class=HelpFormatter)
    arguments.add_network_arguments(parser)
    group = parser.add_argument_group('images')
    group.add_argument('--seeds', required=True, metavar='LIST', help='numbers and ranges: 0-99 or 1,5,7-9')
    group.add_argument('--psi', type=float, default=0.7, metavar='NUMBER',
                       help='truncation: 1 as trained, 0 the mean image (default: 0.7)')
    group.add_argument('--cutoff', type=int, default=8, metavar='INT',
                       help='number of layers that are truncated (default: 8, up to 32x32)')
    arguments.add_label_argument(group)
    group.add_argument('--noise', choices=['stored', 'random', 'none'], default='stored',
                       help="noise inputs: the network's own, drawn from the seed, or none (default: stored)")
    group.add_argument('--outdir', default=shown(os.path.join(folders.result_dir, 'images')), metavar='DIR',
                       help='where the images go (default: %(default)s)')
    args = parser.parse_args(argv)
    arguments.check_psi(args.psi)
    args.seeds = arguments.parse_seeds(args.seeds)
    return args


def main(argv=None):
    import numpy as np

    from figures import arguments, composing, layouts, sheet
    args = parse_args(argv)
    make_writable_folder(args.outdir, 'choose another one with --outdir')
    gen, facts = arguments.open_generator(args)
    arguments.choose_labels(gen, facts, args)
    sheets = sheet.ContactSheets(args.outdir, len(args.seeds))
    for begin in range(0, len(args.seeds), AT_ONCE):
        seeds = args.seeds[begin:begin + AT_ONCE]
        latents = np.concatenate([gen.latents(seed) for seed in seeds])
        labels = gen.labels_of(seeds)
        if args.noise == 'random' and gen.has_noise:
            # One by one, so that an image depends on its seed alone.
            images = np.concatenate([
                gen.images(latents[i:i + 1], labels[i:i + 1], args.psi, args.cutoff, 'random', seed)
                for i, seed in enumerate(seeds)])
        else:
            images = gen.images(latents, labels, args.psi, args.cutoff, args.noise, title='images')
        for seed, image in zip(seeds, images):
            picture = composing.to_picture(image)
            sheet.save_picture(picture, os.path.join(args.outdir, _file_name(seed)))
            sheets.add(composing.zoomed(composing.shrink(picture, max(gen.resolution // 128, 1)),
                                        layouts.zoom_of(gen.resolution)))
    record = dict(facts, psi=args.psi, cutoff=args.cutoff, noise=args.noise)
    pages = sheet.write_cells(args.outdir, f'Images of {sheet.without_folders(facts.network)}', sheet.told(record),
                              [_file_name(seed) for seed in args.seeds], [f'seed {seed}' for seed in args.seeds],
                              max(min(gen.resolution, 192), layouts.FACE), layouts.zoom_of(gen.resolution) > 1)
    sheet.write_record(os.path.join(args.outdir, 'images.json'), dict(record, seeds=args.seeds))
    more = f' (of {len(sheets.names)} sheets and {pages} pages)' if len(sheets.names) > 1 else ''
    print(f'{len(args.seeds)} images, sheet.png and index.html{more} are in {args.outdir}')


def _file_name(seed):
    return f'seed{seed:04d}.png'


if __name__ == '__main__':
    run_main(main)
