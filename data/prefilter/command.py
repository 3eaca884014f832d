"""`prefilter`: crops of the faces in a folder of photographs, and a ledger of what was kept and what was not."""

import argparse
import os

from data.cluster.engine import add_cluster, open_cluster
from data.options import add_webp, add_workers, positive_int
from dnnlib.util import UserError

_PAPER = {'margin': 50.0, 'size': 256, 'min_face': 20, 'choose': 'center', 'upright': False}
_DEFAULTS = dict(_PAPER, upright=True)

_DESCRIPTION = """Finds the face in every photograph of a folder and its subfolders (MTCNN) and writes a crop of it
under the same subfolders of OUT, with ledger.csv (a row per file: decision, reason, boxes, crop), summary.json and
contact sheets. An interrupted run is continued by the same command with --resume."""


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser('prefilter', help='crops of the faces in a folder of photographs',
                                   description=_DESCRIPTION)
    parser.add_argument('folder', metavar='IN', nargs='?', help='folder of photographs')
    parser.add_argument('out', metavar='OUT', nargs='?', help='folder for the crops')
    add_settings(parser)
    add_workers(parser)
    parser.add_argument('--shard', type=_shard, metavar='I/N', help='only part I of N, from 1/N to N/N (0/N is N/N)')
    parser.add_argument('--resume', action='store_true', help='go on with the ledger that OUT has')
    parser.add_argument('--merge', action='store_true', help='join the ledgers of all shards in OUT')
    add_cluster(parser)
    parser.never_with('--merge', *[option for option in parser.options() if option != '--merge'])
    parser.only_with('--align', '--landmarks')
    parser.set_defaults(run=run)


def add_settings(parser):
    """Adds the options that decide about images."""
    group = parser.add_argument_group('which faces, and how they are cut out')
    group.add_argument('--margin', type=_margin, metavar='PIXELS',
                        help='widen the box by so many pixels of the photograph, half on each side (default 50)')
    group.add_argument('--size', type=_size, metavar='N', help='side of the crops in pixels (default 256)')
    group.add_argument('--min-face', type=_min_face, metavar='PIXELS',
                        help='side of the smallest face to look for (default 20)')
    group.add_argument('--choose', choices=['center', 'largest', 'only'],
                        help='of several faces take the one which is large and near the centre, take the largest, or '
                             'reject the photograph (default center)')
    group.add_argument('--align', choices=['ffhq'],
                        help='cut out an upright square around eyes and mouth, as FFHQ was made')
    group.add_argument('--landmarks', metavar='FILE',
                        help="landmarks of another detector for --align: FFHQ's JSON, or CSV path,x1,y1,... of 5 or 68 "
                             'points; no faces are looked for then')
    group.add_argument('--min-crop', type=positive_int, metavar='PIXELS',
                        help='reject photographs whose crop would be narrower or lower than this before it is resized')
    group.add_argument('--min-score', type=_score, metavar='NUMBER',
                        help='reject photographs in whose face the detector has less confidence, from 0.7 to 1')
    group.add_argument('--no-exif', dest='upright', action='store_const', const=False,
                        help='do not turn photographs as their EXIF entry says')
    group.add_argument('--paper', action='store_true',
                        help='as in "Re-Training StyleGAN": margin 50, size 256, centre, no EXIF')
    group = parser.add_argument_group('which photographs')
    group.add_argument('--max-pixels', type=positive_int, metavar='N', default=None,
                        help='refuse larger photographs (default 64 million)')
    add_webp(group)
    group.add_argument('--include-list', metavar='FILE', help='use only the images that this file lists')
    group.add_argument('--exclude-list', metavar='FILE', help='leave out the images that this file lists')


def run(args):
    from data.addresses import staged
    out = 'out' if args.out is not None or not args.merge else 'folder'
    with staged(args, ['folder'] if out == 'out' else [], [out], args.resume or args.merge, keep=True) as local:
        _run(local)


def _run(args):
    from data.prefilter import summary
    from data.prefilter.run import merge, prefilter
    from dnnlib.machine import usable_cores
    if args.merge:
        out = args.out or args.folder
        if out is None:
            raise UserError('--merge needs the folder OUT')
        result = merge(out)
    else:
        if args.out is None:
            raise UserError('two folders are expected: IN with the photographs and OUT for the crops')
        out = args.out
        settings = settings_of(args, args.folder, args.out)
        with open_cluster(args) as cluster:
            result = prefilter(settings, args.workers or usable_cores(), args.shard, args.resume, cluster)
    print(summary.to_text(result))
    print(f"ledger: {os.path.join(out, result['ledger']['file'])}")
    for sheet in result['contact_sheets']:
        print(f'sheet:  {os.path.join(out, sheet)}', flush=True)


def settings_of(args, folder, out):
    """`Settings` from parsed options. Raises UserError for options that contradict --paper."""
    from data.lists import ImageList
    from data.prefilter.landmarks import Landmarks
    from data.prefilter.settings import MAX_PIXELS, Settings
    values = dict(_PAPER if args.paper else _DEFAULTS)
    for name in values:
        given = getattr(args, name)
        if given is not None:
            if args.paper and given != _PAPER[name]:
                raise UserError(f"--paper sets {name.replace('_', '-')} to {_PAPER[name]}; leave out --paper or "
                                f"--{name.replace('_', '-')}")
            values[name] = given
    limits = {'min_crop': args.min_crop or 0, 'min_score': args.min_score or 0.0}
    if args.paper and any(limits.values()):
        raise UserError('--paper takes every face that is found; leave out --paper, or --min-crop and --min-score')
    if args.align and (args.paper or args.margin is not None):
        raise UserError('--align has a square of its own; leave out --paper and --margin')
    if args.landmarks is not None and not args.align:
        raise UserError('--landmarks goes with --align ffhq')
    if args.landmarks is not None and limits['min_score']:
        raise UserError('--min-score is about faces that are looked for; with --landmarks none are')
    values.update(limits, align=args.align)
    values['landmarks'] = None if args.landmarks is None else Landmarks(args.landmarks)
    return Settings(folder, out, paper=args.paper, allow_webp=args.allow_webp, max_pixels=args.max_pixels or MAX_PIXELS,
                    include=None if args.include_list is None else ImageList(args.include_list),
                    exclude=None if args.exclude_list is None else ImageList(args.exclude_list), **values)


def _shard(text):
    parts = text.split('/')
    if len(parts) != 2 or not all(part.isdecimal() for part in parts) or not 0 <= int(parts[0]) <= int(parts[1]) != 0:
        raise argparse.ArgumentTypeError(f"'{text}' is not I/N with I from 1 to N")
    return int(parts[0]), int(parts[1])


def _number(text, kind, low, high):
    try:
        value = kind(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f'{text} is not from {low} to {high}')
    return value


def _margin(text):
    return _number(text, float, 0, 10000)


def _score(text):
    return _number(text, float, 0, 1)


def _size(text):
    return _number(text, int, 4, 8192)


def _min_face(text):
    return _number(text, int, 5, 10000)
