"""`prepare`: from a downloaded archive or folder of photographs all the way to a verified data set."""

import argparse
import os

from data import ledger
from data.converters import archives, exporter, published
from data.converters.create_from_images import create_from_images
from data.converters.labels import add_labels, select
from data.images import list_images
from data.options import add_background, add_workers, byte_size, power_of_two
from data.prefilter import command as prefilter_command
from data.records.manifest import read_manifest, write_manifest
from data.verify import verify
from dnnlib.files import make_folder, recall_json, sha256_file, write_json
from dnnlib.machine import existing_folder, usable_cores
from dnnlib.util import UserError

_BYTES_PER_PIXEL = 1.2
"""Of a crop as a PNG: measured on photographs, at the compression that prefilter uses."""

_DESCRIPTION = """Unpacks archives (zip, tar) if need be, filters and crops the photographs as `prefilter` does, makes
the TFRecords and verifies them. Unpacked photographs and crops stay in the work folder; the same command goes on where
it was stopped. For celeba and casia the pre-filter is set as in the paper unless options say otherwise, and the counts
are compared with the published ones."""


def add_arguments(subparsers):
    """Adds the command to the parser of dataset_tool.py."""
    parser = subparsers.add_parser('prepare', help='from a downloaded archive or folder to a verified data set',
                                   description=_DESCRIPTION)
    parser.add_argument('kind', choices=sorted(published.SOURCES), help='what the photographs are')
    parser.add_argument('dataset_dir', metavar='DATASET_DIR', help='directory to make')
    parser.add_argument('source', metavar='SOURCE', nargs='+', help='a folder, or archives')
    parser.add_argument('--work', metavar='DIR', help='where unpacked photographs and crops go '
                                                      '(default: DATASET_DIR with -work added)')
    parser.add_argument('--subfolder', metavar='NAME', help='use only the photographs in this folder of SOURCE')
    parser.add_argument('--max-unpacked', type=byte_size, metavar='SIZE',
                        help='unpack archives of up to SIZE in all, such as 500G (default: 20 times an archive and 1 '
                             'GiB, and 200 times a member)')
    parser.add_argument('--no-prefilter', action='store_true',
                        help='take the photographs whole, cut to their central squares, at --size')
    prefilter_command.add_settings(parser)
    add_background(parser)
    add_workers(parser)
    group = parser.add_argument_group('labels')
    add_labels(group)
    parser.never_with('--no-prefilter', '--margin', '--min-face', '--choose', '--align', '--landmarks', '--min-crop',
                      '--min-score', '--no-exif', '--paper', '--max-pixels')
    parser.only_with('--no-prefilter', '--background')
    parser.set_defaults(run=prepare)


def prepare(args):
    """Runs the command. `args`: what the parser of `add_arguments` gives. Raises UserError."""
    source = published.SOURCES[args.kind]
    size = args.size or 256
    try:
        power_of_two(str(size))
    except argparse.ArgumentTypeError as err:
        raise UserError(f'--size: {err}') from None
    exporter.check_new(args.dataset_dir)
    for path in args.source:
        if not os.path.exists(path):
            raise UserError(f"'{path}' does not exist (the directory to make comes first: "
                            f'prepare {args.kind} DATASET_DIR SOURCE)')
        if not os.path.isdir(path) and not os.path.isfile(path):
            raise UserError(f"cannot read '{path}': it is not a regular file, nor a folder")
    work = args.dataset_dir.rstrip(os.sep) + '-work' if args.work is None else args.work
    photos = _choose_folder(_photos(args.source, work, args.max_unpacked), args.subfolder, source)
    names, _ = list_images(photos)
    print(f"{len(names)} images in '{photos}'", flush=True)
    print(published.explain_source(source, len(names)), end='', flush=True)
    lists = {'include_list': args.include_list, 'exclude_list': args.exclude_list}
    if any(value is not None for value in list(lists.values()) + _label_options(args)):
        print('in the photographs:', flush=True)
        select(names, args, photos)  # refuses now what would be refused after hours
    _check_space(work, args.dataset_dir, len(names), size, not args.no_prefilter)
    if args.no_prefilter:
        images, summary, lines = photos, None, ''
    else:
        images = os.path.join(work, 'faces')
        summary, lines = _prefilter(args, photos, images, source)
        print(lines, end='', flush=True)
        lists = dict.fromkeys(lists)  # they name photographs, and did so to the pre-filter
    selection = argparse.Namespace(labels=args.labels, label_names=args.label_names, label_map=args.label_map,
                                   drop_unlabelled=args.drop_unlabelled, **lists)
    whole = args.no_prefilter
    create_from_images(args.dataset_dir, images, size=size if whole else None, convert='rgb' if whole else None,
                       skip_bad=whole, workers=args.workers, selection=selection, background=args.background,
                       allow_webp=args.allow_webp)
    manifest = read_manifest(args.dataset_dir)
    manifest['prepared'] = {'kind': args.kind, 'source_images': len(names), 'prefilter': summary,
                            'remarks': lines.splitlines()}
    write_manifest(args.dataset_dir, manifest)
    verify(args.dataset_dir)
    if os.path.isdir(work) and os.listdir(work):
        print(f"what '{work}' holds is no longer needed", flush=True)


def _label_options(args):
    return [args.labels, args.label_names, args.label_map, args.drop_unlabelled or None]


def _photos(sources, work, max_unpacked):
    """The folder of photographs: the one that is given, or where archives were unpacked to."""
    if len(sources) == 1 and os.path.isdir(sources[0]):
        return sources[0]
    folders = [path for path in sources if os.path.isdir(path)]
    if folders:
        raise UserError(f"'{folders[0]}' is a folder; name one folder alone, or archives")
    photos, record = os.path.join(work, 'photos'), os.path.join(work, 'unpacked.json')
    make_folder(work)
    if os.path.isdir(photos):
        if not _are_the_same(recall_json(record, kind=list), sources):
            raise UserError(f"'{photos}' was unpacked from other archives; delete it, or choose another --work")
        print(f"'{photos}' was unpacked before", flush=True)
        return photos
    write_json(record, [_describe_archive(path) for path in sources])
    written, left_out = archives.unpack(sources, photos, max_unpacked)
    print(f'unpacked {written} files' + (f'; {left_out} members that are no images or tables were left out'
                                         if left_out else ''), flush=True)
    return photos


def _describe_archive(path):
    status = os.stat(path)
    return {'name': os.path.basename(path), 'size': status.st_size, 'mtime_ns': status.st_mtime_ns,
            'sha256': sha256_file(path)}


def _are_the_same(known, sources):
    """Whether archives are those described; their content is read only where their times differ."""
    if known is None or len(known) != len(sources) or not all(isinstance(entry, dict) for entry in known):
        return False
    for entry, path in zip(known, sources):
        status = os.stat(path)
        if (entry.get('name'), entry.get('size')) != (os.path.basename(path), status.st_size):
            return False
        if entry.get('mtime_ns') != status.st_mtime_ns and entry.get('sha256') != sha256_file(path):
            return False
    return True


def _choose_folder(folder, subfolder, source):
    """The folder inside `folder` in which a data set's photographs lie, if its name is known."""
    if subfolder is not None:
        path = os.path.join(folder, subfolder)
        if not os.path.isdir(path):
            raise UserError(f"'{folder}' has no folder '{subfolder}'")
        return path
    found = [os.path.relpath(os.path.join(where, name), folder) for where, names, _ in _levels(folder, 3)
             for name in names if name in source.folders]
    if len(found) > 1:
        raise UserError(f"'{folder}' holds several folders of photographs ({', '.join(sorted(found))}); choose one "
                        'with --subfolder')
    return os.path.join(folder, found[0]) if found else folder


def _levels(folder, depth):
    """os.walk down to a depth."""
    for where, names, files in os.walk(folder):
        level = 0 if where == folder else os.path.relpath(where, folder).count(os.sep) + 1
        if level >= depth - 1:
            yield where, names, files
            names.clear()
        else:
            names[:] = sorted(names)[:1000]
            yield where, names, files


def _check_space(work, dataset_dir, count, size, crops):
    records = exporter.forecast_bytes([3, size, size], 'uint8', count)
    crops = int(count * size * size * _BYTES_PER_PIXEL) if crops else 0
    same_disk = _device(work) == _device(dataset_dir)
    exporter.check_free_space(dataset_dir, records + (crops if same_disk else 0))
    if not same_disk:
        exporter.check_free_space(os.path.join(work, 'faces'), crops)
    print(f'about {exporter.format_bytes(crops)} for crops and {exporter.format_bytes(records)} for records',
          flush=True)


def _device(path):
    return os.stat(existing_folder(path)).st_dev


def _prefilter(args, photos, faces, source):
    """Returns (summary of the pre-filter, remarks on its counts)."""
    from data.prefilter import summary
    from data.prefilter.run import prefilter
    own = any(getattr(args, name) is not None
              for name in ('margin', 'min_face', 'choose', 'upright', 'min_crop', 'min_score')) \
        or args.size not in (None, 256)
    args.paper = args.paper or (source.kept is not None and not own)
    settings = prefilter_command.settings_of(args, photos, faces)
    started = os.path.exists(ledger.ledger_path(faces))
    result = prefilter(settings, args.workers or usable_cores(), resume=started)
    print(summary.to_text(result), flush=True)
    if not result['kept']:
        raise UserError(f"no face was found in any photograph of '{photos}'")
    for key in ('run', 'contact_sheets'):
        result.pop(key)
    result['ledger']['sha256'] = ledger.ledger_sha256(faces)
    return result, published.explain_kept(source, result)
