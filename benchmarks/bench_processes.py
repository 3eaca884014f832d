"""Two processes of one thread against one process of two, and what TensorFlow's graph optimizer is worth.

    python benchmarks/bench_processes.py [--quick] [--rounds N]

Whole trainings of the CPU's networks on drawn faces, without growing; contenders take turns, and of each the later
ticks count. Needs two idle cores: a third program takes its time from one of two processes, for which the other waits.
"""

import argparse
import glob
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401

ROUNDS = 5
TICKS = 4           # of which the first, that builds and warms up, does not count
AIM = 0.9           # rate of two processes over that of one
OFF = 'tf_config.graph_options.rewrite_options.disable_meta_optimizer'
CASES = {32: dict(minibatch=32, tick_kimg=0.64), 64: dict(minibatch=16, tick_kimg=0.32)}
CONTENDERS = {      # name -> (processes, threads of each, whether the graph optimizer is off)
    'one process of two threads': (1, 2, False),
    'one process of two threads, graph optimizer off': (1, 2, True),
    'two processes of one thread': (2, 1, True),
    'two processes of one thread, gradients as float16': (2, 1, True)}


def rows(quick=False, rounds=ROUNDS):
    """Measures on this machine's CPU. Returns dicts: what, figure, unit, ratio, ratio_to, floor."""
    result = []
    folder = tempfile.mkdtemp(prefix='bench-processes-')
    try:
        for resolution, case in CASES.items():
            _make_faces(folder, resolution, 128)
            seconds = {name: [] for name in CONTENDERS}
            for _ in range(1 if quick else rounds):
                for name in CONTENDERS:
                    seconds[name].append(_seconds_per_kimg(folder, resolution, case, name, quick))
            first = statistics.median(seconds['one process of two threads'])
            for name, values in seconds.items():
                middle = statistics.median(values)
                result.append(dict(
                    what=f"training at {resolution}², minibatch {case['minibatch']}: {name}", figure=1000 / middle,
                    unit='images/s', ratio=first / middle, ratio_to='one process of two threads',
                    floor=f'{1000 / max(values):.1f} to {1000 / min(values):.1f} in {len(values)} runs'))
    finally:
        shutil.rmtree(folder)
    return result


def _make_faces(folder, resolution, count):
    path = os.path.join(folder, f'toyfaces-{resolution}')
    subprocess.run([sys.executable, 'dataset_tool.py', 'create_toyfaces', path, '--num', str(count), '--resolution',
                    str(resolution)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def _seconds_per_kimg(folder, resolution, case, name, quick):
    """Median over the later ticks of one training."""
    processes, threads, is_off = CONTENDERS[name]
    tick_kimg = case['tick_kimg'] / (4 if quick else 1)
    settings = {
        'sched.lod_initial_resolution': resolution, 'sched.minibatch_base': case['minibatch'],
        'sched.minibatch_dict': 'null', 'sched.tick_kimg_base': tick_kimg, 'sched.tick_kimg_dict': '{}',
        'train.total_kimg': TICKS * tick_kimg, 'train.image_snapshot_ticks': 0, 'train.network_snapshot_ticks': 0,
        'train.checkpoint_kimg': 1000, 'metrics': '[]', OFF: str(is_off).lower(),
        'train.gradient_dtype': 'float16' if 'float16' in name else 'float32',
        'tf_config.intra_op_parallelism_threads': threads, 'tf_config.inter_op_parallelism_threads': threads}
    command = [sys.executable] + (['-m', 'dnnlib.tflib.launch', '-np', str(processes)] if processes > 1 else [])
    command += ['train.py', '--config', f'toyfaces-{resolution}', '--device', 'cpu', '--num-gpus', '1', '--data-dir',
                folder, '--result-dir', os.path.join(folder, 'runs')]
    command += [word for key, value in settings.items() for word in ('--set', f'{key}={value}')]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-3000:])
    from dnnlib.files import read_json_lines
    run_dir, = glob.glob(os.path.join(folder, 'runs', '*'))
    ticks = read_json_lines(os.path.join(run_dir, 'stats.jsonl'))
    shutil.rmtree(run_dir)
    return statistics.median(tick['sec_per_kimg'] for tick in ticks[1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--quick', action='store_true', help='one round of short ticks, to see that everything runs')
    parser.add_argument('--rounds', type=int, default=ROUNDS, metavar='N', help='default: %(default)s')
    args = parser.parse_args()
    for row in rows(args.quick, args.rounds):
        print(f"{row['what']:<84} {row['figure']:7.1f} {row['unit']}  {row['ratio']:5.2f} of {row['ratio_to']} "
              f"({row['floor']})", flush=True)
    print(f'aim: {AIM:g} for two processes')


if __name__ == '__main__':
    main()
