"""Writes images of a trained generator, one per seed or row of latents, and a page that shows them all."""

import argparse
import os

import check_python  # noqa: F401
import config as folders
from dnnlib.command_line import Parser, shown
from dnnlib.files import results_folder
from dnnlib.util import UserError, run_main

EXAMPLES = '''examples:
  ./reproduce generate --network results/00003-demo --seeds 0-99
  ./reproduce generate --network ffhq-1024 --seeds 0-99 --psi 0.5 --outdir results/faces
  ./reproduce generate --network network-snapshot-000120.pkl --seeds 1,5,7-9 --class 3 --noise random
  ./reproduce generate --network results/00003-demo --latents results/projected/projected.npz
  ./reproduce generate --network results/00003-demo --seeds 1-8 --directions pca:10 --edit component-1=+2
  ./reproduce generate --network results/00003-demo --seeds 1,5,7 --video interpolation --seconds 8
'''


def parse_args(argv=None):
    from figures import arguments
    default = shown(os.path.join(folders.result_dir, 'images'))
    parser = Parser(description=__doc__, epilog=EXAMPLES)
    arguments.add_network_arguments(parser)
    group = parser.add_argument_group('images')
    group.add_argument('--seeds', metavar='LIST', help='numbers and ranges: 0-99 or 1,5,7-9')
    group.add_argument('--latents', metavar='FILE', help='latents in place of seeds: projected.npz of project.py, or '
                       'latents.npz of explore.py')
    group.add_argument('--psi', type=float, metavar='NUMBER', help='truncation: 1 as trained, 0 the mean image '
                       '(default: 0.7, of latents 1)')
    group.add_argument('--cutoff', type=arguments.number_of_layers, default=8, metavar='INT',
                       help='number of layers that are truncated (default: 8, up to 32x32)')
    arguments.add_label_argument(group)
    group.add_argument('--noise', choices=['stored', 'random', 'none'], default='stored',
                       help="noise inputs: the network's own, drawn from the seed, or none (default: stored)")
    group.add_argument('--outdir', metavar='DIR', help='where the images go (default: '
                       f'{default}, or with a number if other images are there)')
    _add_editing(parser)
    _add_video(parser)
    parser.only_with('--directions', '--edit', '--edit-table')
    parser.only_with('--edit', '--hold')
    parser.only_with('--edit-table', '--features')
    parser.only_with('--video', '--seconds', '--fps', '--space', '--curve')
    args = parser.parse_args(argv)
    args.is_named = args.outdir is not None
    args.outdir = args.outdir if args.is_named else default
    if (args.seeds is None) == (args.latents is None) and not (args.edit_table and args.seeds is None):
        raise UserError('give either --seeds, such as 0-99, or --latents with a file')
    args.asks_psi = args.psi is not None
    args.psi = args.psi if args.asks_psi else 0.7 if args.latents is None else 1.0
    arguments.check_psi(args.psi)
    args.seeds = None if args.seeds is None else arguments.parse_seeds(args.seeds)
    if args.video is not None and args.noise == 'random':
        raise UserError('--noise random would flicker from frame to frame; --video noise goes smoothly through draws')
    if args.video not in (None, 'edit') and args.edit is not None:
        raise UserError(f'--video {args.video} shows no edit; --edit goes with --video edit, or with pictures')
    if args.video == 'edit' and args.edit is None:
        raise UserError('--video edit needs --edit, which says what changes')
    if args.seeds is None and args.latents is None:
        parser.refuse(['--noise'], 'has no meaning with --edit-table alone, which takes the stored noise')
    if args.video not in (None, 'interpolation', 'mixing'):
        parser.refuse(['--space', '--curve'], f'says how key frames are joined, of which --video {args.video} has none')
    for kind, option in (('noise', '--noise'), ('truncation', '--psi')):
        if args.video == kind:
            parser.refuse([option], f'has no meaning with --video {kind}, which goes through all {kind} by itself')
    if args.psi == 1 and args.video != 'truncation':
        parser.refuse(['--cutoff'], 'says how many layers --psi truncates, and a psi of 1 truncates none')
    if args.edit is None and not args.edit_table:
        parser.refuse(['--directions'], 'goes with --edit or --edit-table, which say what is done with them')
    if args.layers is not None and args.edit is None and not args.edit_table and args.video != 'mixing':
        raise UserError('--layers says which layers --edit changes, or --video mixing')
    return args


def _add_editing(parser):
    group = parser.add_argument_group('editing')
    group.add_argument('--directions', metavar='SOURCE', help='where directions come from: a file of run_metrics.py ls '
                       '--keep-planes, labelled samples (.csv: seed and a column per attribute), vectors (.npy), or '
                       'pca:K for the first principal components of w')
    group.add_argument('--edit', metavar='LIST', help='what changes, in standard deviations: smiling=+2,age=-1')
    group.add_argument('--hold', metavar='NAMES', help='what is to stay: edits are made orthogonal to these directions')
    group.add_argument('--layers', metavar='LIST', help='layers that change, such as 4-7 (default: all; for --video '
                       'mixing 0-3)')
    group.add_argument('--edit-table', action='store_true', help="measure how often classifiers' answers change as "
                       'asked, for every direction with a classifier')
    group.add_argument('--features', choices=['released', 'standin'], default='standin',
                       help='whose classifiers: the released ones, or the stand-ins for drawn faces (default: standin)')


def _add_video(parser):
    group = parser.add_argument_group('video, which loops')
    group.add_argument('--video', choices=['interpolation', 'mixing', 'noise', 'truncation', 'edit'],
                       help='an MP4 file: seeds are key frames; in noise, truncation and edit they stand side by side')
    group.add_argument('--seconds', type=_positive, default=8.0, metavar='NUMBER', help='its length (default: 8)')
    group.add_argument('--fps', type=_positive, default=25.0, metavar='NUMBER', help='frames per second (default: 25)')
    group.add_argument('--space', choices=['z', 'w'], default='z', help='where key frames are joined (default: z)')
    group.add_argument('--curve', choices=['spherical', 'linear', 'spline'],
                       help='how (default: spherical in z, linear in w)')


def _positive(text):
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 3600:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number above 0, at most 3600")
    return value


def main(argv=None):
    args = parse_args(argv)
    from figures import arguments
    arguments.find_network(args)
    with results_folder(args.outdir, 'choose another one with --outdir'):
        make(args)


def make(args):
    """Makes what the options ask for."""
    from figures import arguments, generating
    gen, facts = arguments.open_generator(args)
    arguments.choose_labels(gen, facts, args)
    for sentence in generating.without_effect(gen, args):
        print(f'warning: {sentence}', flush=True)
    order = generating.Order(gen, facts, args)
    if args.edit_table:
        from metrics.networks.answers import Answers
        print(generating.write_shares(order, Answers(args.features, order.directions), args.features))
    if args.video is not None:
        print(generating.write_video(order))
    elif args.seeds is not None or args.latents is not None:
        print(generating.write_images(order))


if __name__ == '__main__':
    run_main(main)
