"""Writes images of a trained generator, one per seed or row of latents, and a page that shows them all."""

import os

import check_python  # noqa: F401
import config as folders
from dnnlib.command_line import Parser, shown
from dnnlib.files import make_writable_folder
from dnnlib.util import UserError, run_main

EXAMPLES = '''examples:
  ./reproduce generate --network results/00003-demo --seeds 0-99
  ./reproduce generate --network ffhq-1024 --seeds 0-99 --psi 0.5 --outdir results/faces
  ./reproduce generate --network network-snapshot-000120.pkl --seeds 1,5,7-9 --class 3 --noise random
  ./reproduce generate --network results/00003-demo --latents results/projected/projected.npz
'''
AT_ONCE = 64  # images kept in memory


def parse_args(argv=None):
    from figures import arguments
    parser = Parser(description=__doc__, epilog=EXAMPLES)
    arguments.add_network_arguments(parser)
    group = parser.add_argument_group('images')
    group.add_argument('--seeds', metavar='LIST', help='numbers and ranges: 0-99 or 1,5,7-9')
    group.add_argument('--latents', metavar='FILE', help='latents in place of seeds: projected.npz of project.py, or '
                       'latents.npz of explore.py')
    group.add_argument('--psi', type=float, metavar='NUMBER', help='truncation: 1 as trained, 0 the mean image '
                       '(default: 0.7, of latents 1)')
    group.add_argument('--cutoff', type=int, default=8, metavar='INT',
                       help='number of layers that are truncated (default: 8, up to 32x32)')
    arguments.add_label_argument(group)
    group.add_argument('--noise', choices=['stored', 'random', 'none'], default='stored',
                       help="noise inputs: the network's own, drawn from the seed, or none (default: stored)")
    group.add_argument('--outdir', default=shown(os.path.join(folders.result_dir, 'images')), metavar='DIR',
                       help='where the images go (default: %(default)s)')
    args = parser.parse_args(argv)
    if (args.seeds is None) == (args.latents is None):
        raise UserError('give either --seeds, such as 0-99, or --latents with a file')
    args.psi = (0.7 if args.latents is None else 1.0) if args.psi is None else args.psi
    arguments.check_psi(args.psi)
    args.seeds = None if args.seeds is None else arguments.parse_seeds(args.seeds)
    return args


def main(argv=None):
    args = parse_args(argv)
    from figures import arguments, composing, latent_files, layouts, rendering, sheet
    make_writable_folder(args.outdir, 'choose another one with --outdir')
    gen, facts = arguments.open_generator(args)
    arguments.choose_labels(gen, facts, args)
    if args.latents is None:
        kind, numbers, images_of, what = 'seed', args.seeds, rendering.images_of_seeds, ()
    else:
        found = latent_files.read(args.latents, gen, facts.sha256)
        kind, numbers, images_of, what = 'latents', range(found.count), rendering.images_of_latents, (found,)
    sheets = sheet.ContactSheets(args.outdir, len(numbers))
    for begin in range(0, len(numbers), AT_ONCE):
        some = numbers[begin:begin + AT_ONCE]
        for number, image in zip(some, images_of(gen, *what, some, args.psi, args.cutoff, args.noise)):
            picture = composing.to_picture(image)
            sheet.save_picture(picture, os.path.join(args.outdir, _file_name(kind, number)))
            sheets.add(composing.zoomed(composing.shrink(picture, max(gen.resolution // 128, 1)),
                                        layouts.zoom_of(gen.resolution)))
    record = dict(facts, psi=args.psi, cutoff=args.cutoff, noise=args.noise)
    pages = sheet.write_cells(args.outdir, f'Images of {sheet.without_folders(facts.network)}', sheet.told(record),
                              [_file_name(kind, number) for number in numbers],
                              [f'{kind} {number}' for number in numbers],
                              max(min(gen.resolution, 192), layouts.FACE), layouts.zoom_of(gen.resolution) > 1)
    record.update({'seeds': args.seeds} if args.latents is None else {'latents': args.latents})
    sheet.write_record(os.path.join(args.outdir, 'images.json'), record)
    more = f' (of {len(sheets.names)} sheets and {pages} pages)' if len(sheets.names) > 1 else ''
    print(f'{len(numbers)} images, sheet.png and index.html{more} are in {args.outdir}')


def _file_name(kind, number):
    return f'{kind}{number:04d}.png'


if __name__ == '__main__':
    run_main(main)
