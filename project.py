"""Finds the latents of photographs: which w, and which noise, makes a trained generator draw them."""

import argparse
import os
import shutil

import check_python  # noqa: F401
import config as folders
from dnnlib.command_line import Parser, shown, typed
from dnnlib.files import results_folder, sha256_file
from dnnlib.seeds import seed_option
from dnnlib.util import UserError, run_main

EXAMPLES = '''examples:
  ./reproduce project photo.jpg --network results/00003-demo
  ./reproduce project a.png b.png --network ffhq-1024 --align ffhq --space w+ --steps 1000
  ./reproduce project photo.jpg --network ffhq-1024 --outdir results/me --distance pyramid
'''


def parse_args(argv=None):
    from figures import arguments
    default = shown(os.path.join(folders.result_dir, 'projected'))
    parser = Parser(description=__doc__ + ' The same command goes on with a projection that was interrupted.',
                    epilog=EXAMPLES)
    parser.add_argument('photos', metavar='PHOTO', nargs='+', help='pictures; of each the square in the middle')
    arguments.add_network_arguments(parser)
    group = parser.add_argument_group('projection')
    group.add_argument('--align', choices=['ffhq'], help='find the face and cut out an upright square around it first, '
                       'as dataset_tool.py prefilter --align does')
    group.add_argument('--space', choices=['w', 'w+'], default='w',
                       help="w: one for all layers, near to the network's own images; w+: one per layer (default: w)")
    group.add_argument('--steps', type=_steps, metavar='INT', help='default: 1000 for w, 5000 for w+')
    group.add_argument('--noise-maps', choices=['auto', 'found', 'stored'], default='auto',
                       help="whether noise is found too, or is the network's own (default: found for w, stored for w+)")
    group.add_argument('--distance', choices=['auto', 'released', 'standin', 'pyramid'], default='auto',
                       help='VGG16-LPIPS, the stand-in for drawn faces, or pixels (default: the first of them that is '
                       'here and fits)')
    group.add_argument('--seed', type=seed_option, default=0, metavar='INT', help='of the noise on w (default: 0)')
    group.add_argument('--outdir', metavar='DIR', help='where projected.npz, sheet.png and index.html go (default: '
                       f'{default}, or with a number if another projection is there)')
    args = parser.parse_args(argv)
    args.is_named = args.outdir is not None
    args.outdir = args.outdir if args.is_named else default
    folders_given = [path for path in args.photos if os.path.isdir(path)]
    if folders_given:
        raise UserError(f"'{folders_given[0]}' is a folder; name the pictures in it")
    missing = [path for path in args.photos if not os.path.isfile(path)]
    if missing:
        raise UserError(f"there is no file '{missing[0]}'")
    return args


def _steps(text):
    if not text.isdecimal() or not 1 <= int(text) <= 10 ** 6:
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number of steps from 1 to 1000000")
    return int(text)


def main(argv=None):
    args = parse_args(argv)
    from figures import arguments
    arguments.find_network(args)
    with results_folder(args.outdir, 'choose another one with --outdir'):
        project(args)


def project(args):
    """Finds the latents of the photographs that the options name."""
    from figures import arguments, sheet
    from figures.projection import optimising, photographs, results, schedule
    from metrics.networks import distances
    gen, facts = arguments.open_generator(args)
    optimising.check(gen)
    photos = photographs.read(args.photos, gen, args.align)
    source, why = distances.choose(args.distance, facts.path, args.artifacts_dir)
    distance, distance_record = distances.build(source)
    print(typed(f'Distance: {why}.'), flush=True)
    settings = schedule.settings_of(args.space, args.steps, {'found': True, 'stored': False}.get(args.noise_maps),
                                    args.seed)
    record = dict(facts, align=args.align, distance=source, distance_network=distance_record, **settings._asdict())
    key = optimising.key_of(dict(record, minibatch=args.minibatch, photos=[sha256_file(path) for path in args.photos]))
    args.outdir = sheet.place_for(args.outdir, lambda folder: results.key_in(folder) not in (None, key), args.is_named)
    work = os.path.join(args.outdir, results.UNFINISHED)
    place = optimising.Place(work, key)
    found = optimising.project(gen, distance, photos, settings, place, args.minibatch,
                               between=results.Snapshots(args.outdir))
    path = results.store(args.outdir, found, settings.noise_maps, facts)
    rows = sheet.told(facts)
    rows.update([('Distance', why), ('Found in', settings.space), ('Steps', settings.steps)])
    title = f'Projections by {sheet.without_folders(facts.network)}'
    results.show(args.outdir, photos, found, args.photos, title, rows)
    ends = [dict(photo=name, distance_at_mean=float(first), distance=float(last)) for name, first, last
            in zip(args.photos, found['curve'][0], found['curve'][-1])]
    sheet.write_record(os.path.join(args.outdir, 'projected.json'), dict(record, photos=ends, key=key))
    shutil.rmtree(work, ignore_errors=True)
    for end in ends:
        share = end['distance'] / max(end['distance_at_mean'], 1e-30)
        print(f"{end['photo']}: distance {end['distance']:.4g}, {share:.4f} of that at w's mean")
    print(f'{path}; index.html shows them')


if __name__ == '__main__':
    run_main(main)
