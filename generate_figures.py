"""Draws the figures of the StyleGAN and Re-Training StyleGAN papers with a trained generator."""

import os
import sys

import check_python  # noqa: F401
import config as folders
from dnnlib.command_line import Parser, shown
from dnnlib.files import results_folder
from dnnlib.util import UserError, run_main

EXAMPLES = '''examples:
  ./reproduce figures --network ffhq-1024 --outdir figures-ffhq
  ./reproduce figures --network results/00003-demo --figures uncurated,truncation
  ./reproduce figures --network 3 --figures style-mixing --sources 1-4 --destinations 7,9
  ./reproduce figures --network 3 --figures interpolation --path 1,7,9
  ./reproduce lecture         # trains small GANs on points; see lecture --help
  ./reproduce figures acceleration --after results/00006-accel-256    # see figures acceleration --help
  ./reproduce figures unwarping       # Fig. 6 as an experiment; see unwarping --help
'''
FIGURES = ('uncurated', 'style-mixing', 'noise-detail', 'noise-components', 'truncation', 'interpolation')
# Options that say how some figures are drawn, and have no effect on others.
OPTIONS_OF = {'--psi': ('uncurated', 'interpolation'), '--draws': ('noise-detail',), '--sources': ('style-mixing',),
              '--destinations': ('style-mixing',), '--styles': ('style-mixing',), '--path': ('interpolation',),
              '--frames': ('interpolation',), '--dataset': ('nearest', 'dataset')}
WITH_DATA = ('nearest', 'dataset')  # read training images, so that they are drawn only if they are named


def parse_args(argv=None):
    from figures import arguments, layouts
    parser = Parser(
        description=__doc__ + ' The defaults are the seeds and arrangements of the papers; the layers that a figure '
        'varies follow from the resolution.', epilog=EXAMPLES)
    arguments.add_network_arguments(parser)
    group = parser.add_argument_group('figures')
    group.add_argument('--figures', default='all', metavar='LIST',
                       help=f'which, separated by commas (default: all): {", ".join(FIGURES)}; and, if '
                       'named, nearest, samples beside the nearest training images, and dataset, a sample of these')
    group.add_argument('--dataset', metavar='DIR', help="data set of nearest and dataset (default: the run's)")
    group.add_argument('--outdir', default=shown(os.path.join(folders.result_dir, 'figures')), metavar='DIR',
                       help='where they go (default: %(default)s)')
    arguments.add_label_argument(group)
    group.add_argument('--psi', type=float, default=0.7, metavar='NUMBER',
                       help='truncation of the uncurated images and the interpolation (default: 0.7)')
    group.add_argument('--draws', type=int, default=layouts.NOISE_DETAIL_DRAWS, metavar='INT',
                       help='noise draws of noise-detail, at least 5 (default: %(default)s)')
    group.add_argument('--sources', metavar='LIST', help='seeds of the columns of style-mixing, such as 639,701 '
                       "(default: the papers')")
    group.add_argument('--destinations', metavar='LIST', help="seeds of its rows (default: the papers')")
    group.add_argument('--styles', metavar='LIST', help='which styles its rows take from the source: coarse, middle or '
                       "fine, one for all or one for each (default: the papers' proportions)")
    group.add_argument('--path', metavar='LIST', help='seeds that the interpolation leads through, and back to the '
                       f'first (default: {layouts.INTERPOLATION_KEYS} latents of seed {layouts.INTERPOLATION_SEED})')
    group.add_argument('--frames', type=int, default=layouts.INTERPOLATION_FRAMES, metavar='INT',
                       help='frames of the interpolation (default: %(default)s)')
    args = parser.parse_args(argv)
    arguments.check_psi(args.psi)
    args.is_all = args.figures == 'all'
    args.figures = FIGURES if args.is_all else [name.strip() for name in args.figures.split(',')]
    unknown = [name for name in args.figures if name not in FIGURES + WITH_DATA]
    if unknown:
        raise UserError(f"--figures: there is no figure '{unknown[0]}'; choose from {', '.join(FIGURES + WITH_DATA)}")
    for option, names in OPTIONS_OF.items():
        if not set(names) & set(args.figures):
            parser.refuse([option], f"says how {' and '.join(names)} are drawn; name "
                          f"{'one of them' if len(names) > 1 else 'it'} with --figures, or leave it out")
    for name in ('sources', 'destinations', 'path'):
        if getattr(args, name) is not None:
            setattr(args, name, arguments.parse_seeds(getattr(args, name), f'--{name}'))
    args.mixing = layouts.mixing(args.sources, args.destinations, args.styles and args.styles.split(','))
    if args.draws < 5:
        raise UserError(f'--draws is {args.draws}; at least 5 are needed')
    if args.frames < 8:
        raise UserError(f'--frames is {args.frames}; at least 8 are needed')
    return args


def draw(name, gen, facts, args):
    """The `Figure` of that name."""
    from experiment import facts as known
    from figures import drawing, layouts
    if name == 'uncurated':
        layout = layouts.uncurated_layout(*known.trained_on(facts.path), gen.resolution)
        return drawing.uncurated(gen, layout, psi=args.psi)
    if name == 'noise-detail':
        return drawing.noise_detail(gen, draws=args.draws)
    if name in WITH_DATA:
        from figures import nearest
        from training.network_files.data import open_training_data
        with open_training_data(facts.path, args.dataset, resolution=gen.resolution) as dataset:
            draw_with = {'nearest': nearest.nearest_training_images, 'dataset': nearest.data_set_images}
            return draw_with[name](gen, dataset)
    if name == 'interpolation':
        return drawing.interpolation(gen, frames=args.frames, psi=args.psi, path=args.path)
    if name == 'style-mixing':
        return drawing.style_mixing(gen, args.mixing)
    return {'noise-components': drawing.noise_components, 'truncation': drawing.truncation}[name](gen)


def main(argv=None):
    argv = sys.argv[1:] if argv is None else list(argv)
    if argv[:1] == ['lecture']:
        from experiment.lecture import panels
        return panels.main(argv[1:])
    if argv[:1] == ['acceleration']:
        from experiment import facts as known
        from figures import acceleration
        return acceleration.main(argv[1:], lambda path: known.trained_on(path)[0])
    if argv[:1] == ['unwarping']:
        from experiment.studies import unwarping
        return unwarping.main(argv[1:])
    from figures import arguments
    args = parse_args(argv)
    arguments.find_network(args)
    with results_folder(args.outdir, 'choose another one with --outdir'):
        draw_all(args)


def draw_all(args):
    """Draws the figures that the options name, and a page of them."""
    from figures import arguments, sheet
    gen, facts = arguments.open_generator(args)
    arguments.choose_labels(gen, facts, args)
    blocks, record = [], dict(facts, figures={})
    for name in args.figures:
        try:
            figure = draw(name, gen, facts, args)
        except UserError as err:
            if not args.is_all:
                raise UserError(f'figure {name}: {err}') from err
            print(f'{name}: left out, since {err}')
            record['figures'][name] = {'left_out': str(err)}
            continue
        path = sheet.save_picture(figure.picture, os.path.join(args.outdir, f'{name}.png'))
        shown, still = path, None
        if figure.frames:
            shown, still = sheet.save_animation(figure.frames, os.path.join(args.outdir, name)), path
        blocks.append(sheet.figure_block(shown, figure.title, figure.caption, still, figure.column_labels,
                                         figure.row_labels, figure.row_groups))
        record['figures'][name] = dict(figure.facts, caption=figure.caption)
        print(f'{shown}: {figure.caption}')
    sheet.write_figures(os.path.join(args.outdir, 'index.html'), f'Figures of {sheet.without_folders(facts.network)}',
                        sheet.told(facts), blocks)
    sheet.write_record(os.path.join(args.outdir, 'figures.json'), record)
    print(f'All on one page: {os.path.join(args.outdir, "index.html")}')


if __name__ == '__main__':
    run_main(main)
