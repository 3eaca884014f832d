"""`train.py doctor`: whether this machine can train, and what to do where it cannot."""

import itertools
import os
import platform
import subprocess
import sys
from collections import namedtuple

import config as folders
from data.records.shards import described_files
from dnnlib import artifacts, registry
from dnnlib.command_line import Parser, typed
from dnnlib.files import parse_json
from dnnlib.machine import usable_cores
from dnnlib.util import UserError, sha256_file
from experiment import checks, device_check, facts, run_config
from experiment.plan import Plan, gigabytes
from metrics.networks.needs import needed_files

# Exit status by the first area with a problem; 0 where there is none.
AREAS = {'engine': 10, 'devices': 11, 'disk': 12, 'memory': 13, 'data': 14, 'artifacts': 15}
OK, WARNING, PROBLEM = 'ok', 'warning', 'PROBLEM'
EXAMPLES = '''examples:
  ./reproduce doctor
  ./reproduce doctor --config celeba-256 --set dataset.tfrecord_dir=mine
'''
PROBE_SECONDS = 600     # an engine that is too old for a GPU compiles for it for minutes
LEAST_FREE_BYTES = 2e9
LEAST_MEMORY_BYTES = 2e9

Finding = namedtuple('Finding', ['area', 'state', 'text', 'advice'])


def make_parser():
    """The command line's options."""
    parser = Parser(
        prog='train.py doctor', description='Checks engine, devices, disk, memory, data set and released files, and '
        'says what to do about what is not fine. Exit status: 0 nothing is wrong; otherwise the first area with a '
        'problem: ' + ', '.join(f'{code} {area}' for area, code in AREAS.items()) + '; 2 for a mistake in the command.',
        epilog=EXAMPLES)
    parser.add_argument('--config', metavar='NAME|FILE', help='check for this configuration: its data, its needs of '
                        'disk and memory, its metrics')
    parser.add_argument('--set', metavar='KEY=VALUE', action='append', default=[], dest='overrides',
                        help='change a setting of the configuration; may be repeated')
    registry.add_option(parser)
    parser.add_argument('--data-dir', metavar='DIR', help='folder of the data sets')
    parser.add_argument('--result-dir', metavar='DIR', help='folder of the run directories')
    parser.add_argument('--device', choices=['auto', 'cpu', 'gpu'], default='auto',
                        help='what to check (default: auto)')
    parser.add_argument('--quick', action='store_true', help='do not read the whole data set')
    parser.only_with('--config', '--set', '--data-dir')
    return parser


def main(argv=None):
    """Parses the command line, prints the findings and returns the exit status."""
    return examine(make_parser().parse_args(argv))


def examine(args):
    """Prints the findings and returns the exit status. Raises UserError for a mistake in the command."""
    registry.allow_modules(args)
    machine = facts.Machine(os.path.abspath(args.result_dir or folders.result_dir))
    config = None
    if args.config is not None:
        config, origins = run_config.load(args.config, folders.config_dir, args.overrides, dict(device=args.device))
        facts.settle_size(config, origins, os.path.abspath(args.data_dir or folders.data_dir))
    findings = []
    for finding in itertools.chain(
            check_engine_and_devices(args.device, config, machine), check_disk(machine), check_memory(machine),
            check_config(config, os.path.abspath(args.data_dir or folders.data_dir), machine, args.quick)):
        findings.append(finding)
        print_finding(finding)
    problems = [finding for finding in findings if finding.state == PROBLEM]
    warnings = [finding for finding in findings if finding.state == WARNING]
    print(f'{len(problems)} problem(s), {len(warnings)} warning(s)')
    return min((AREAS[finding.area] for finding in problems), default=0)


def print_finding(finding):
    """One line, and one more with what to do."""
    print(typed(f'{finding.state:<8} {finding.area:<10} {finding.text}'))
    if finding.advice:
        print(typed(f'{"":<19} -> {finding.advice}'), flush=True)


# ---- Engine and devices


def check_engine_and_devices(device, config, machine):
    """Findings on Python, TensorFlow, and every device that it can use."""
    yield Finding('engine', OK, f'Python {platform.python_version()} on {platform.platform()}', None)
    gpus = machine.gpus
    for gpu in gpus:
        yield Finding('devices', OK, f"GPU {gpu.get('index')}: {gpu.get('name')}, compute capability "
                      f"{gpu.get('compute_cap') or 'unknown'}, driver {gpu.get('driver_version')}, "
                      f"{gpu.get('memory.used')} of {gpu.get('memory.total')} in use", None)
    for text in machine.company:
        yield Finding('devices', WARNING, text,
                      'two trainings on one GPU slow each other down and may run out of memory; wait, or hide that GPU '
                      'with CUDA_VISIBLE_DEVICES')
    found = run_probe(device)
    if 'error' in found:
        yield Finding('engine', PROBLEM, f"TensorFlow does not work: {found['error']}",
                      'set the environment up again: make setup, or python3 tools/bootstrap.py --force')
        return
    yield Finding('engine', OK, f"TensorFlow {found['tensorflow']} ({found['engine']}), numpy {found['numpy']}", None)
    usable = [entry for entry in found['devices'] if entry['kind'] == 'gpu']
    if device != 'cpu' and len(usable) < len(gpus):
        yield Finding('devices', PROBLEM, f'the driver knows {len(gpus)} GPU(s), TensorFlow can use {len(usable)}',
                      'this TensorFlow is the build for CPUs, or too new for the driver: make setup SETUP_ARGS=--gpu, '
                      'or a newer driver; --device cpu does without')
    if device == 'gpu' and not usable:
        yield Finding('devices', PROBLEM, 'TensorFlow finds no GPU',
                      'check the driver with nvidia-smi; --device cpu does without')
    if config is not None and config.device != 'cpu' and usable and len(usable) < config.num_gpus:
        yield Finding('devices', PROBLEM, f'the configuration asks for {config.num_gpus} GPUs, {len(usable)} are there',
                      f'pass --num-gpus {len(usable)}')
    for entry in found['devices']:
        yield device_finding(entry, found['engine'], gpus)


def device_finding(entry, engine, gpus):
    """What a device's arithmetic is worth: see `device_check.probe`."""
    name, deviation = entry['name'], entry.get('deviation')
    if deviation is None:
        return Finding('devices', PROBLEM, f"{name}: computing failed: {entry['error']}", _gpu_advice(engine))
    text = f'{name}: convolutions and their gradients are within {deviation:.1e} of exact ones'
    if not deviation < device_check.NOISE:
        return Finding('devices', PROBLEM, f'{text}, which is noise', _gpu_advice(engine))
    if deviation > device_check.ROUGH:
        return Finding('devices', WARNING, text, 'less than float32 promises (TF32 multiplies with 10 bits): training '
                       'works, scores may differ slightly; NVIDIA_TF32_OVERRIDE=0 restores float32')
    old = [gpu for gpu in gpus if entry['kind'] == 'gpu' and engine == 'tf1' and _capability(gpu) >= 8.0]
    if old:
        return Finding('devices', WARNING, f'{text}, but the GPU is newer than the CUDA 10.0 of this engine',
                       'its first step compiles for minutes; ENGINE=tf2 knows the GPU')
    return Finding('devices', OK, text, None)


def _capability(gpu):
    try:
        return float(gpu.get('compute_cap') or 0)
    except ValueError:
        return 0.0


def _gpu_advice(engine):
    if engine == 'tf1':
        return ('TensorFlow 1.15 was built for CUDA 10.0, which knows GPUs up to compute capability 7.5; use the other '
                'engine: make setup ENGINE=tf2')
    return 'update the driver; if it stays, the device may be defective'


def run_probe(device):
    """What `device_check` prints in a process of its own, since a GPU that fails may take its process with it."""
    command = [sys.executable, '-m', 'experiment.device_check', device]
    try:
        result = subprocess.run(command, cwd=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return {'error': f'no answer within {PROBE_SECONDS} seconds'}
    lines = result.stdout.decode('utf-8', 'replace').strip().splitlines()
    try:
        return parse_json(lines[-1], finite=False)
    except (IndexError, ValueError):
        errors = result.stderr.decode('utf-8', 'replace').strip().splitlines()
        return {'error': f'exit status {result.returncode}: {errors[-1] if errors else "no message"}'}


# ---- Disk and memory


def check_disk(machine):
    """Whether results can be written, and how much space there is."""
    try:
        checks.check_place(machine)
    except UserError as err:
        yield Finding('disk', PROBLEM, str(err), None)
        return
    text = f"{gigabytes(machine.free_disk)} are free at '{machine.place}'"
    if machine.free_disk < LEAST_FREE_BYTES:
        yield Finding('disk', WARNING, text,
                      'a run at 256x256 needs some hundred GB with all its snapshots; free some space')
    else:
        yield Finding('disk', OK, text, None)


def check_memory(machine):
    """How much memory this machine has and has left."""
    total, available = machine.total_memory, machine.available_memory
    if total is None:
        yield Finding('memory', OK, 'cannot be told on this system', None)
        return
    text = f'{gigabytes(available or total)} of {gigabytes(total)} available'
    if (available or total) < LEAST_MEMORY_BYTES:
        yield Finding('memory', WARNING, text, 'the smallest runs take 2 GB; end other programs')
    else:
        yield Finding('memory', OK, f'{text}, {usable_cores()} processor(s) usable', None)


# ---- A configuration's needs


def check_config(config, data_dir, machine, quick):
    """Findings on the data set, the forecasts of disk and memory, and the files that metrics need."""
    if config is None:
        yield Finding('data', OK, 'not checked; name a configuration with --config', None)
        return
    try:
        data = facts.open_data(config, data_dir)
        plan = Plan(config, data)
    except UserError as err:
        yield Finding('data', PROBLEM, str(err), None)
        return
    yield from check_data_files(config, data_dir, data, quick)
    if plan.needs is not None:
        yield from check_needs(plan, machine)
    yield from check_artifacts(config, data_dir)


def check_data_files(config, data_dir, data, quick):
    """Whether the files of a TFRecord data set still have the checksums of its manifest."""
    text = f'{data.num_images} samples of {data.shape}'
    folder = config.dataset.get('tfrecord_dir')
    if folder is None:
        yield Finding('data', OK, text, None)
        return
    folder = os.path.join(data_dir, folder)
    files = described_files(folder)
    if files is None:
        yield Finding('data', OK, f"{text} in '{folder}', without a manifest to compare with", None)
        return
    damaged = []
    for name, entry in sorted(files.items()):
        path = os.path.join(folder, os.path.basename(name))
        if not os.path.isfile(path) or os.path.getsize(path) != entry.get('size') \
                or not quick and sha256_file(path) != entry.get('sha256'):
            damaged.append(name)
    if damaged:
        yield Finding('data', PROBLEM, f"in '{folder}' these files are not as they were written: {', '.join(damaged)}",
                      'make the data set again, or fetch it again')
    else:
        compared = 'sizes' if quick else 'checksums'
        yield Finding('data', OK, f"{text} in '{folder}', {compared} as they were written", None)


def check_needs(plan, machine):
    """Forecasts of disk and memory against what there is."""
    disk, memory = plan.needs.disk, plan.needs.memory
    try:
        checks.check_disk(plan, machine)
    except UserError as err:
        yield Finding('disk', PROBLEM, str(err), None)
    else:
        state = OK if machine.free_disk >= disk.total else WARNING
        yield Finding('disk', state, f'the run needs about {gigabytes(disk.total)} ({gigabytes(disk.checkpoint)} a '
                      f'checkpoint), {gigabytes(machine.free_disk)} are free', None if state == OK else
                      'raise train.network_snapshot_ticks, or delete snapshots as they come')
    total, available = machine.total_memory, machine.available_memory
    if plan.config.device != 'gpu' and total is not None:
        text = f'the run needs about {gigabytes(memory)}'
        if memory > total:
            yield Finding('memory', PROBLEM, f'{text}, this machine has {gigabytes(total)}',
                          'lower sched.minibatch_dict or G.fmap_base and D.fmap_base')
        elif memory > (available or total):
            yield Finding('memory', WARNING, f'{text}, {gigabytes(available)} are available',
                          'end other programs first')
        else:
            yield Finding('memory', OK, text, None)


def check_artifacts(config, data_dir):
    """Whether the released networks that the configuration's metrics need are on this machine, and sound."""
    if not config.metrics:
        return
    needed = needed_files(config.metrics, dict(config.dataset, data_dir=data_dir))
    if not needed:
        yield Finding('artifacts', OK, 'the metrics need no released files', None)
    for alternatives in needed:
        yield artifact_finding(alternatives)


def artifact_finding(names):
    """Whether one of several files is there and sound."""
    try:
        path = next((path for path in map(artifacts.find, names) if path is not None), None)
    except UserError as err:
        return Finding('artifacts', PROBLEM, str(err), f'fetch it again: ./reproduce artifacts fetch {names[0]}')
    if path is None:
        return Finding('artifacts', PROBLEM, f"{' or '.join(names)}, which the run's metrics need, is not here",
                       f'./reproduce artifacts fetch {names[0]}; or train without: --set metrics=[]')
    return Finding('artifacts', OK, path, None)
