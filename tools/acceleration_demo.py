"""The acceleration framework on drawn faces: a codec, its codes, a GAN of codes and one of images that train for the
same time, on one sheet and in one table. A second run repeats nothing."""

import os
import shlex
import signal
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from demo import run_step, skip_step  # noqa: E402

import check_python  # noqa: E402, F401
import config as folders  # noqa: E402
from dnnlib.command_line import Parser, told  # noqa: E402
from dnnlib.files import atomic_path, atomic_write, make_folder, read_json, write_json  # noqa: E402
from dnnlib.util import UserError, format_time, run_main  # noqa: E402
from experiment import run_config  # noqa: E402

DATA, CODES = 'acceleration-demo-64', 'acceleration-demo-64-codes'
CODEC, GANS = 'acceleration-demo-codec', ('acceleration-demo-codes', 'acceleration-demo-baseline')
TITLES = {GANS[0]: 'GAN of codes', GANS[1]: 'GAN of images'}
NUM_FACES, MINUTES = 10000, 12.7
QUICK_NUM_FACES, QUICK_MINUTES = 300, 1.0
QUICK_CODEC = ['train.total_kimg=1', 'sched.tick_kimg_base=0.5']
COLUMNS = 12    # of the sheet, each kind in two rows
STOPPING_SECONDS = 600
FIGURES = [     # of a row of the table: key, heading, format
    ('images_per_second', 'images/s', '{:.1f}'), ('images_seen', 'images seen', '{:,}'), ('fid', 'FID', '{:.1f}'),
    ('reconstruction_mse', 'reconstruction MSE', '{:.2g}')]


def parse_args(argv=None):
    parser = Parser(
        prog='./reproduce acceleration-demo',
        description=__doc__, epilog='examples:\n  ./reproduce acceleration-demo --quick --result-dir /tmp/demo')
    parser.add_argument('--quick', action='store_true', help='a few minutes in place of twenty, to see that it runs')
    parser.add_argument('--minutes', type=float, metavar='NUMBER', help='training time of the two GANs, which train '
                        f'side by side (default {MINUTES:g}; {QUICK_MINUTES:g} with --quick)')
    parser.add_argument('--data-dir', default=folders.data_dir, metavar='DIR', help='folder of the data sets')
    parser.add_argument('--result-dir', default=folders.result_dir, metavar='DIR', help='folder of the run directories')
    args = parser.parse_args(argv)
    args.minutes = args.minutes or (QUICK_MINUTES if args.quick else MINUTES)
    if not 0.05 <= args.minutes <= 10000:
        raise UserError(f'--minutes is {args.minutes:g}; 0.05 to 10000 are expected')
    args.suffix = '-quick' if args.quick else ''
    args.out = os.path.join(args.result_dir, 'acceleration-demo' + args.suffix)
    args.data, args.codes = [os.path.join(args.data_dir, name + args.suffix) for name in (DATA, CODES)]
    return args


def make_data(args):
    title = 'Draw faces of 64x64'
    if os.path.isfile(os.path.join(args.data, 'manifest.json')):
        return skip_step(title, args.data)
    return run_step(title, 'dataset_tool.py', 'create_toyfaces', args.data, '--resolution', '64', '--num',
                    str(QUICK_NUM_FACES if args.quick else NUM_FACES), '--seed', '0')


def overrides_of(name, args):
    """What the demo changes of a configuration."""
    data = os.path.basename(args.codes if name == GANS[0] else args.data)
    more = QUICK_CODEC if name == CODEC and args.quick else []
    return [f'dataset.tfrecord_dir={data}'] * args.quick + more


def training_options(name, args):
    options = ['--config', name, '--data-dir', args.data_dir, '--result-dir', args.result_dir]
    for override in overrides_of(name, args):
        options += ['--set', override]
    return options


def find_run(name, args):
    """(directory, is finished) of the newest run of a configuration; (None, False) without one."""
    wanted, _ = run_config.load(name, folders.config_dir, overrides_of(name, args), {})
    return run_config.find_run(args.result_dir, wanted)


def train_codec(args):
    """The directory of the trained codec."""
    title = 'Train a codec: images to codes of a quarter of their side and 16 channels, and back'
    run_dir, is_finished = find_run(CODEC, args)
    if is_finished:
        skip_step(title, run_dir)
    elif run_dir is not None:
        run_step(title + ' (going on)', 'train.py', '--resume', run_dir)
    else:
        run_step(title, 'train.py', *training_options(CODEC, args))
    return find_run(CODEC, args)[0]


def encode(args, codec):
    title = 'Encode all faces and their mirror images'
    if os.path.isfile(os.path.join(args.codes, 'manifest.json')):
        return skip_step(title, args.codes)
    return run_step(title, 'dataset_tool.py', 'encode', args.codes, args.data, '--codec', codec, '--mirror', '1')


def train_side_by_side(args, done):
    """Trains both GANs at once for the demo's time, so that whatever else the machine does slows both alike, then asks
    them to stop. Enters into `done`, which is kept, what came of it."""
    title = f'Train a GAN of codes and one of images, side by side for {args.minutes:g} minutes'
    if all(done.get(name, {}).get('minutes') == args.minutes and os.path.isdir(done[name]['run_dir']) for name in GANS):
        return skip_step(title, ', '.join(done[name]['run_dir'] for name in GANS))
    print(f'\n== {title}', flush=True)
    processes = {}
    for name in GANS:
        options = training_options(name, args)
        print(f'$ {told("train.py", options)} > {shlex.quote(log_of(name, args))}', flush=True)
        with open(log_of(name, args), 'w') as log:
            processes[name] = subprocess.Popen([sys.executable, os.path.join(ROOT, 'train.py')] + options, stdout=log,
                                               stderr=subprocess.STDOUT)
    ends = time.time() + args.minutes * 60
    try:
        while time.time() < ends and all(process.poll() is None for process in processes.values()):
            time.sleep(0.1)
    finally:
        for process in processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)  # it ends its iteration and stores a snapshot
    for name, process in processes.items():
        status = process.wait(STOPPING_SECONDS)
        run_dir, _ = find_run(name, args)
        if status != 0 or run_dir is None:
            raise UserError(f'the demo stopped in the step "{title}": train.py ended with status {status} '
                            f'({log_of(name, args)}); start the demo again, which repeats this step only')
        done[name] = dict(run_dir=run_dir, minutes=args.minutes, images_seen=images_seen(run_dir))
    return write_json(os.path.join(args.out, 'runs.json'), done)


def log_of(name, args):
    """What a GAN's training prints."""
    return os.path.join(args.out, f'{name}.log')


def images_seen(run_dir):
    """Images that a run had seen when it stopped."""
    from training.state import checkpoint
    newest = checkpoint.list_checkpoints(os.path.join(run_dir, 'checkpoints'))[0]
    return int(os.path.basename(newest).split('-')[1].split('.')[0])


def measure(args, done):
    """FIDs: of both generators, and of the decoded codes of the reals."""
    for name, metrics in ((GANS[0], 'fid50k,fid50k_decoded'), (GANS[1], 'fid50k')):
        out, title = os.path.join(args.out, name), f'{TITLES[name]}: FID by the stand-in networks'
        if all(os.path.isfile(os.path.join(out, metric + '.json')) for metric in metrics.split(',')) \
                and done[name].get('is_measured'):
            skip_step(title, out)
            continue
        more = ['--num-samples', str(QUICK_NUM_FACES)] if args.quick else []
        run_step(title, 'run_metrics.py', metrics, '--network', done[name]['run_dir'], '--preset', 'quick', '--out',
                 out, *more)
        done[name]['is_measured'] = True
        write_json(os.path.join(args.out, 'runs.json'), done)


# ---- What comes of it


def table_rows(args, done, codec):
    """Dicts of title and figures."""
    def fid(name, metric):
        return read_json(os.path.join(args.out, name, metric + '.json'))['value']
    error = read_json(os.path.join(codec, 'metrics', 'reconstruction.json'))['values']['mse_64']
    rows = [dict(title=TITLES[name], images_seen=done[name]['images_seen'], fid=fid(name, 'fid50k'),
                 images_per_second=done[name]['images_seen'] / (60 * args.minutes)) for name in GANS]
    return rows + [dict(title='decoded codes of the reals', fid=fid(GANS[0], 'fid50k_decoded'),
                        reconstruction_mse=error)]


def table_text(rows, minutes):
    """The table as Markdown."""
    lines = ['| | ' + ' | '.join(heading for _, heading, _ in FIGURES) + ' |', '| --- |' + ' ---: |' * len(FIGURES)]
    for row in rows:
        cells = [form.format(row[key]) if key in row else '' for key, _, form in FIGURES]
        lines.append(f"| {row['title']} | " + ' | '.join(cells) + ' |')
    ratio, speed = rows[0]['fid'] / rows[1]['fid'], rows[0]['images_per_second'] / rows[1]['images_per_second']
    return '\n'.join(lines + [
        '', f'Both GANs trained side by side for {minutes:g} minutes, starting up included. FID by the stand-in '
        f'networks, quick preset; that of the GAN of codes is {ratio:.2f} of that of the GAN of images, and it saw '
        f'{speed:.1f} times as many images in the same time. No GAN of codes can be expected below the last line, nor '
        'is the codec\'s own training counted, which one codec needs once for all data and resolutions. Mean squared '
        'error of pixels in -1 to 1.', ''])


def draw_sheet(args, done):
    """Reals, what the codec leaves of them, and samples of both generators, two rows each, as a PIL picture."""
    import numpy as np
    from PIL import ImageDraw

    from data.records.codec import decode
    from data.records.dataset import TFRecordDataset
    from dnnlib import tflib
    from figures import composing
    from figures.generator import Generator
    from training.network_files.locate import load_generator, locate
    count = 2 * COLUMNS
    with TFRecordDataset(args.data) as faces, TFRecordDataset(args.codes) as codes:
        reals, _ = faces.get_samples_np(np.arange(count))
        decoded = decode(codes.codec, codes.get_samples_np(np.arange(count))[0])
    kinds = [('reals', reals.transpose([0, 2, 3, 1])), ('reals, encoded and decoded', decoded.transpose([0, 2, 3, 1]))]
    for name in GANS:
        with tflib.tf.Graph().as_default(), tflib.create_session().as_default():
            generator = Generator(load_generator(locate(done[name]['run_dir'])), progress=False)
            kinds.append((TITLES[name], generator.images(generator.latents(0, count), psi=1)))
    heading, rows = 16, []
    for text, images in kinds:
        pictures = [composing.to_picture(image) for image in images]
        grid = composing.grid([pictures[:COLUMNS], pictures[COLUMNS:]])
        picture = composing.canvas(grid.size[0], grid.size[1] + heading)
        ImageDraw.Draw(picture).text((4, 2), text, fill='black')
        picture.paste(grid, (0, heading))
        rows.append([picture])
    return composing.grid(rows)


def main(argv=None):
    args = parse_args(argv)
    began = time.time()
    make_folder(args.out)
    done = read_json(os.path.join(args.out, 'runs.json'), absent={})
    make_data(args)
    codec = train_codec(args)
    encode(args, codec)
    train_side_by_side(args, done)
    measure(args, done)

    rows = table_rows(args, done, codec)
    text = table_text(rows, args.minutes)
    write_json(os.path.join(args.out, 'table.json'), rows)
    with atomic_write(os.path.join(args.out, 'table.md'), 'w') as f:
        f.write(text)
    with atomic_path(os.path.join(args.out, 'sheet.png')) as temp:
        draw_sheet(args, done).save(temp, 'PNG')
    print(f'\n{text}\nThe demo is complete ({format_time(time.time() - began)}). Look at')
    for what, path in (('the sheet', os.path.join(args.out, 'sheet.png')),
                       ('the table', os.path.join(args.out, 'table.md')),
                       ('images beside reconstructions', os.path.join(codec, 'fakes*.png')),
                       ('the GAN of codes', done[GANS[0]]['run_dir']), ('the GAN of images', done[GANS[1]]['run_dir'])):
        print(f'  {what:30} {os.path.relpath(path)}')


if __name__ == '__main__':
    run_main(main)
