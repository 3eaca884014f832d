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
from dnnlib.command_line import Parser, shown, told
from dnnlib.files import read_json, results_folder
from dnnlib.seeds import LARGEST_OF_A_RUN, seed_option
from dnnlib.util import UserError, format_time
from experiment.studies.runs import Trainer, Wanted
from figures import panels, sheet

EXAMPLES = '''examples:
  ./reproduce lecture
  ./reproduce lecture --distributions ring,spiral --sizes 8 --minibatches 5000
  ./reproduce lecture --distributions gaussians-8 --sizes 8 --seeds 10
'''
SIZES = (2, 8, 32)              # of z, as on the slides
CONFIGS = {2: 'minimal-gan-z2', 8: 'minimal-gan', 32: 'minimal-gan-z32'}
NUM_POINTS = 200000
ANIMATED = 'gaussians-8-8'
ANIMATED_FRAMES = 50
SEEDS_PER_ROW = 5
NEAR_ENOUGH = 0.7               # share of points near a part from which a run that hit all of them counts as good
LEGEND = ('grey: reals; orange: what G makes; shading: what D takes for real (green) or fake (purple); lines: equal '
          'density, where it is known')


def parse_args(argv=None):
    parser = Parser(
        prog='generate_figures.py lecture', epilog=EXAMPLES,
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
    group.add_argument('--seeds', type=_positive, default=1, metavar='INT',
                       help='runs of each panel, with seeds from --seed on; the sheet shows them all, and those that '
                       f'hit every mode with {NEAR_ENOUGH:g} of the points near one are counted (default: 1)')
    group.add_argument('--animate', metavar='NAME-SIZE',
                       help=f'the run that is animated, or none (default: {ANIMATED} where it is on the sheet)')
    group = parser.add_argument_group('how')
    group.add_argument('--seed', type=seed_option, default=1000, metavar='INT',
                       help=f'seed of every run, 0 to {LARGEST_OF_A_RUN} (default: 1000)')
    group.add_argument('--jobs', type=_positive, default=2, metavar='INT', help='runs at a time (default: 2)')
    group.add_argument('--data-dir', default=folders.data_dir, metavar='DIR', help='folder of the data sets')
    group.add_argument('--outdir', default=shown(os.path.join(folders.result_dir, 'lecture')), metavar='DIR',
                       help='where the runs and the sheet go (default: %(default)s)')
    group.add_argument('--dry-run', action='store_true', help='only print the commands')
    args = parser.parse_args(argv)
    on_sheet = [f'{name}-{size}' for name in args.distributions for size in args.sizes]
    if args.animate is None:
        args.animate = ANIMATED if ANIMATED in on_sheet and args.seeds == 1 else 'none'
    elif args.animate not in on_sheet + ['none']:
        parser.error(f"--animate: there is no '{args.animate}' on the sheet; choose {', '.join(on_sheet)} or none")
    if args.seed + args.seeds - 1 > LARGEST_OF_A_RUN:
        parser.error(f'--seed: the last seed would be {args.seed + args.seeds - 1}; {LARGEST_OF_A_RUN} is the greatest')
    return args


def _names(text):
    names = text.split(',')
    unknown = [name for name in names if name not in points.DISTRIBUTIONS]
    if unknown:
        raise argparse.ArgumentTypeError(f"there is no distribution '{unknown[0]}'; choose from "
                                         f"{', '.join(points.DISTRIBUTIONS)}")
    return _without_repeats(names)


def _sizes(text):
    return _without_repeats([_positive(part) for part in text.split(',')])


def _without_repeats(values):
    return sorted(set(values), key=values.index)


def _positive(text):
    if not re.match(r'[1-9]\d{0,7}\Z', text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return int(text)


# ---- Runs


class Panel(Wanted):
    """One run of the sheet. Attributes: name (of the distribution), size (of z), seed, is_animated."""

    def __init__(self, name, size, seed, args):
        self.name, self.size, self.seed = name, size, seed
        self.is_animated = f'{name}-{size}' == args.animate and seed == args.seed
        total_kimg = args.minibatches / 100
        frames = max(min(ANIMATED_FRAMES, int(total_kimg)), 1) if self.is_animated else 1   # named by whole kimg
        title = f'on {name} with z of {size}' + (f' and seed {seed}' if args.seeds > 1 else '')
        super().__init__(title, CONFIGS.get(size, 'minimal-gan'), [
            f'desc={name}-z{size}', f'dataset.tfrecord_dir={name}', f'G.latent_size={size}', f'seed={seed}',
            f'train.total_kimg={total_kimg:g}', f'sched.tick_kimg_base={max(total_kimg / frames, 0.001):g}',
            f'train.minibatch_repeats={min(100, max(args.minibatches // frames, 1))}',
            'train.network_snapshot_ticks=0', 'device=cpu'])


def plan(args):
    """The runs of the sheet, row by row."""
    return [Panel(name, size, seed, args) for name in args.distributions for size in args.sizes
            for seed in range(args.seed, args.seed + args.seeds)]


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
    name = os.path.basename(run_dir)    # the folders above it say nothing of the distribution
    what = 'modes' if 'gaussians' in name else 'squares' if 'checkerboard' in name else 'pieces'
    return [f"JSD {s['jsd']:.3f} (reals: {s['jsd_floor']:.3f}); by D {s['jsd_D']:.3f}",
            f"{what} {s['mode_coverage_modes']:.0f} of {s['num_modes']}; near {s['mode_coverage_near']:.2f}"]


def pictures_of(run_dir):
    """[(thousands of points, path)] of a run's pictures, in order."""
    found = [(re.match(r'fakes(\d+)\.png$', name), name) for name in os.listdir(run_dir)]
    return sorted((int(match.group(1)), os.path.join(run_dir, name)) for match, name in found if match)


def _open(path):
    with PIL.Image.open(path) as picture:
        return picture.convert('RGB')


def is_good(found):
    """Whether a run with these scores hit every mode and left few points between them."""
    return found['mode_coverage_modes'] == found['num_modes'] and found['mode_coverage_near'] >= NEAR_ENOUGH


def lay_out(args, runs):
    """The sheet: a column per size of z, or rows of some seeds each. `runs`: pairs of panel and run directory."""
    def cell(panel, run_dir):
        lines = caption(run_dir)
        if args.seeds > 1:
            lines.insert(0, f'seed {panel.seed}' + ('' if is_good(scores(run_dir)) else ': missed'))
        return _open(pictures_of(run_dir)[-1][1]), lines

    per_row = len(args.sizes) if args.seeds == 1 else min(args.seeds, SEEDS_PER_ROW)
    per_title = per_row if args.seeds == 1 else args.seeds
    rows, titles = [], []
    for begin in range(0, len(runs), per_title):
        group = [cell(*run) for run in runs[begin:begin + per_title]]
        rows += [group[start:start + per_row] for start in range(0, len(group), per_row)]
        panel = runs[begin][0]
        titles.append(panel.name if args.seeds == 1 else f'{panel.name}\nz of {panel.size}')
        titles += [''] * (len(rows) - len(titles))
    columns = [f'z of {size}' for size in args.sizes] if args.seeds == 1 else [''] * per_row
    return panels.panel_sheet(rows, columns, titles)


def count(args, runs):
    """How many runs of each panel are good: [{distribution, latent_size, runs, good}]."""
    found = []
    for begin in range(0, len(runs), args.seeds):
        group = runs[begin:begin + args.seeds]
        found.append(dict(distribution=group[0][0].name, latent_size=group[0][0].size, runs=len(group),
                          good=sum(is_good(scores(run_dir)) for _, run_dir in group)))
    return found


def draw(args, wanted, run_dirs):
    """Writes sheet.png, the animation, index.html and lecture.json. Returns their paths."""
    runs = list(zip(wanted, run_dirs))
    paths = [sheet.save_picture(lay_out(args, runs), os.path.join(args.outdir, 'sheet.png'))]
    words = f'{args.minibatches} minibatches of 10 points each; {LEGEND}. JSD in nats, at most 0.693.'
    counts = count(args, runs)
    if args.seeds > 1:
        words += ''.join(f' {_counted(entry)}.' for entry in counts)
    blocks = [sheet.figure_block(paths[0], 'Minimal GANs', words)]
    for panel, run_dir in runs:
        if panel.is_animated:
            frames = pictures_of(run_dir)
            path = os.path.join(args.outdir, f'{panel.name}-z{panel.size}.gif')
            panels.save_gif([_open(frame) for _, frame in frames],
                            [f'after {kimg * 100} minibatches' for kimg, _ in frames], path)
            blocks.append(sheet.figure_block(path, f'{panel.name}, z of {panel.size}', LEGEND))
            paths.append(path)
    facts = {'minibatches': args.minibatches, 'seed': args.seed, 'seeds': args.seeds, 'runs': shown(args.outdir)}
    paths.append(os.path.join(args.outdir, 'index.html'))
    sheet.write_figures(paths[-1], 'The minimal GAN of EE-559, lecture 10.1', facts, blocks)
    paths.append(os.path.join(args.outdir, 'lecture.json'))
    sheet.write_record(paths[-1], dict(facts, near_enough=NEAR_ENOUGH, counts=counts, runs=[
        dict(distribution=panel.name, latent_size=panel.size, seed=panel.seed, run=os.path.basename(run_dir),
             **scores(run_dir)) for panel, run_dir in runs]))
    return paths


def _counted(entry):
    return (f"{entry['distribution']}, z of {entry['latent_size']}: {entry['good']} of {entry['runs']} runs hit all of "
            f'it with at least {NEAR_ENOUGH:g} of the points near')


def main(argv=None):
    """Makes data, runs and pictures, as far as they are missing."""
    args = parse_args(argv)
    began = time.time()
    args.outdir = os.path.abspath(args.outdir)
    wanted = plan(args)
    if args.dry_run:
        for panel in wanted:
            print(told('train.py', panel.command(args.data_dir, args.outdir)))
        return
    with results_folder(args.outdir, 'choose another one with --outdir'):
        _make(args, wanted)
    print(f'Done in {format_time(time.time() - began)}')


def _make(args, wanted):
    make_data(args)
    print(f'{len(wanted)} runs, {args.jobs} at a time', flush=True)
    run_dirs = Trainer(args.data_dir, args.outdir, args.jobs, caption).train_all(wanted)
    for path in draw(args, wanted, run_dirs):
        print(shown(path))
    if args.seeds > 1:
        for entry in count(args, list(zip(wanted, run_dirs))):
            print(_counted(entry))
