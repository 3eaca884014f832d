"""The lecture's panels: minimal GANs on five distributions with three sizes of z, from data sets to one sheet."""

import argparse
import os
import re
import time

import PIL.Image

import config as folders
from data import points
from data.converters.create_points import create_points
from data.records.manifest import read_manifest
from dnnlib.command_line import HelpFormatter, shown
from dnnlib.files import make_folder, read_json
from dnnlib.util import UserError, format_time
from experiment.studies.runs import Trainer, Wanted
from figures import panels, sheet

EXAMPLES = '''examples:
  python generate_figures.py lecture
  python generate_figures.py lecture --distributions ring,spiral --sizes 8 --minibatches 5000
'''
SIZES = (2, 8, 32)              # of z, as on the slides
CONFIGS = {2: 'minimal-gan-z2', 8: 'minimal-gan', 32: 'minimal-gan-z32'}
NUM_POINTS = 200000
ANIMATED_FRAMES = 50
LEGEND = ('grey: reals; orange: what G makes; shading: what D takes for real (green) or fake (purple); lines: equal '
          'density, where it is known')


def parse_args(argv=None):
    parser = argparse.ArgumentParser(
        prog='generate_figures.py lecture', formatter_class=HelpFormatter, epilog=EXAMPLES,
        description='Trains the minimal GAN of EE-559, lecture 10.1, on distributions of points with several sizes of '
        'z, and puts what comes out on one sheet, with its divergence from the data and the modes that it '
        'reached below, and one run as an animation. What is there already is not made again.')
    group = parser.add_argument_group('what to draw')
    group.add_argument('--distributions', type=_names, default=list(points.DISTRIBUTIONS), metavar='LIST',
                       help=f"rows (default: {','.join(points.DISTRIBUTIONS)})")
    group.add_argument('--sizes', type=_sizes, default=list(SIZES), metavar='LIST',
                       help='sizes of z, the columns (default: 2,8,32)')
    group.add_argument('--minibatches', type=_positive, default=20000, metavar='INT',
                       help='minibatches of 10 points per run (default: 20000)')
    group.add_argument('--animate', metavar='NAME-SIZE', default='gaussians-8-8',
                       help='the run that is animated (default: gaussians-8-8)')
    group = parser.add_argument_group('how')
    group.add_argument('--seed', type=int, default=1000, metavar='INT', help='seed of every run (default: 1000)')
    group.add_argument('--jobs', type=_positive, default=2, metavar='INT', help='runs at a time (default: 2)')
    group.add_argument('--data-dir', default=folders.data_dir, metavar='DIR', help='folder of the data sets')
    group.add_argument('--outdir', default=shown(os.path.join(folders.result_dir, 'lecture')), metavar='DIR',
                       help='where the runs and the sheet go (default: %(default)s)')
    group.add_argument('--dry-run', action='store_true', help='only print the commands')
    args = parser.parse_args(argv)
    args.animate = args.animate.rpartition('-')[::2]
    return args


def _names(text):
    names = text.split(',')
    unknown = [name for name in names if name not in points.DISTRIBUTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no distribution '{unknown[0]}'; choose from "
                                         f"{', '.join(points.DISTRIBUTIONS)}")
    return names


def _sizes(text):
    return [_positive(part) for part in text.split(',')]


def _positive(text):
    if not re.match(r'[1-9]\d{0,7}\Z', text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return int(text)


# ---- Runs


class Panel(Wanted):
    """One run of the sheet. Attributes: name (of the distribution), size (of z), is_animated."""

    def __init__(self, name, size, args):
        self.name, self.size = name, size
        self.is_animated = (name, str(size)) == args.animate
        total_kimg = args.minibatches / 100
        frames = max(min(ANIMATED_FRAMES, int(total_kimg)), 1) if self.is_animated else 1   # named by whole kimg
        super().__init__(f'on {name} with z of {size}', CONFIGS.get(size, 'minimal-gan'), [
            f'desc={name}-z{size}', f'dataset.tfrecord_dir={name}', f'G.latent_size={size}', f'seed={args.seed}',
            f'train.total_kimg={total_kimg:g}', f'sched.tick_kimg_base={max(total_kimg / frames, 0.001):g}',
            f'train.minibatch_repeats={min(100, max(args.minibatches // frames, 1))}',
            'train.network_snapshot_ticks=0', 'device=cpu'])


def make_data(args):
    """Makes the data sets that are missing. Raises UserError for others of their names."""
    for name in args.distributions:
        folder = os.path.join(args.data_dir, name)
        if not os.path.isdir(folder):
            create_points(folder, name, NUM_POINTS)
        elif read_manifest(folder).get('distribution') != name:
            raise UserError(f"'{folder}' holds something else than points of {name}; move it away, or name another "
                            'folder with --data-dir')


# ---- Pictures


def scores(run_dir):
    """The values that were measured at a run's end, by name, and the number of modes there are."""
    folder = os.path.join(run_dir, 'metrics')
    last = sorted(name for name in os.listdir(folder) if name.startswith('network-snapshot-'))[-1]
    records = [read_json(os.path.join(folder, last, metric + '.json')) for metric in ('jsd', 'mode_coverage')]
    found = dict(records[0]['values'], **records[1]['values'])
    return dict(found, num_modes=records[1]['details']['num_modes'])


def caption(run_dir):
    """Lines below a panel."""
    s = scores(run_dir)
    what = 'modes' if 'gaussians' in run_dir else 'squares' if 'checkerboard' in run_dir else 'pieces'
    return [f"JSD {s['jsd']:.3f} (reals: {s['jsd_floor']:.3f}); by D {s['jsd_D']:.3f}",
            f"{what} {s['mode_coverage_modes']:.0f} of {s['num_modes']}; near {s['mode_coverage_near']:.2f}"]


def pictures_of(run_dir):
    """[(thousands of points, path)] of a run's pictures, in order."""
    found = [(re.match(r'fakes(\d+)\.png$', name), name) for name in os.listdir(run_dir)]
    return sorted((int(match.group(1)), os.path.join(run_dir, name)) for match, name in found if match)


def _open(path):
    with PIL.Image.open(path) as picture:
        return picture.convert('RGB')


def draw(args, wanted, run_dirs):
    """Writes sheet.png, the animation, index.html and lecture.json. Returns their paths."""
    cells = {(panel.name, panel.size): (_open(pictures_of(run_dir)[-1][1]), caption(run_dir))
             for panel, run_dir in zip(wanted, run_dirs)}
    picture = panels.panel_sheet([[cells[name, size] for size in args.sizes] for name in args.distributions],
                                 [f'z of {size}' for size in args.sizes], args.distributions)
    paths = [sheet.save_picture(picture, os.path.join(args.outdir, 'sheet.png'))]
    words = f'{args.minibatches} minibatches of 10 points each; {LEGEND}. JSD in nats, at most 0.693.'
    blocks = [sheet.figure_block(paths[0], 'Minimal GANs', words)]
    for panel, run_dir in zip(wanted, run_dirs):
        if panel.is_animated:
            frames = pictures_of(run_dir)
            path = os.path.join(args.outdir, f'{panel.name}-z{panel.size}.gif')
            panels.save_gif([_open(frame) for _, frame in frames],
                            [f'after {kimg * 100} minibatches' for kimg, _ in frames], path)
            blocks.append(sheet.figure_block(path, f'{panel.name}, z of {panel.size}', LEGEND))
            paths.append(path)
    facts = {'minibatches': args.minibatches, 'seed': args.seed, 'runs': shown(args.outdir)}
    paths.append(os.path.join(args.outdir, 'index.html'))
    sheet.write_figures(paths[-1], 'The minimal GAN of EE-559, lecture 10.1', facts, blocks)
    paths.append(os.path.join(args.outdir, 'lecture.json'))
    sheet.write_record(paths[-1], dict(facts, runs=[
        dict(distribution=panel.name, latent_size=panel.size, run=os.path.basename(run_dir), **scores(run_dir))
        for panel, run_dir in zip(wanted, run_dirs)]))
    return paths


def main(argv=None):
    """Makes data, runs and pictures, as far as they are missing."""
    args = parse_args(argv)
    began = time.time()
    args.outdir = os.path.abspath(args.outdir)
    wanted = [Panel(name, size, args) for name in args.distributions for size in args.sizes]
    if args.dry_run:
        for panel in wanted:
            print(' '.join(['python train.py'] + panel.command(args.data_dir, args.outdir)))
        return
    make_folder(args.outdir)
    make_data(args)
    print(f'{len(wanted)} runs, {args.jobs} at a time', flush=True)
    run_dirs = Trainer(args.data_dir, args.outdir, args.jobs, caption).train_all(wanted)
    for path in draw(args, wanted, run_dirs):
        print(shown(path))
    print(f'Done in {format_time(time.time() - began)}')
