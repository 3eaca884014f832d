"""Measures how long a run will take by training for a few iterations at its lowest and its highest resolution."""

import os
import subprocess
import sys
import tempfile

import numpy as np

from dnnlib import config_files, registry
from dnnlib.util import EasyDict, UserError, format_time
from experiment import forecast
from experiment.reports import run_files
from metrics.tables.epochs import EPOCH_KIMG

ITERATIONS = 8      # at each resolution; the first two, which warm up, do not count
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def tell(plan, data_dir):
    """Measures and prints how long a run will take. Raises UserError where that cannot be found out."""
    if plan.sizes is None:
        raise UserError('--probe knows how cost grows with the resolution for the networks of this project only, '
                        f"not for {plan.config.G.get('func_name', plan.config.train.get('func_name'))}")
    if plan.data.missing:
        raise UserError(f'--probe needs the data: {plan.data.missing}')
    result = measure(plan, data_dir)
    for resolution, seconds in result.per_kimg.items():
        origin = 'measured' if resolution in result.measured else 'estimated'
        print(f'Speed at {resolution}x{resolution}: {seconds:.3g} seconds per kimg ({origin})')
    print(f'Duration: about {format_time(result.seconds)}, without snapshots and metrics')
    last = plan.phases[-1].resolution
    print(f'An epoch of {1000 * EPOCH_KIMG:,.0f} images at {last}x{last}: about '
          f'{result.per_kimg[last] * EPOCH_KIMG / 60:.3g} minutes, extrapolated from {ITERATIONS} iterations')


def measure(plan, data_dir):
    """Runs the probes of a Plan and forecasts the time of the whole run.

    Returns EasyDict(seconds: training from start to end without snapshots and metrics; per_kimg: seconds per kimg by
    resolution; measured: the resolutions that were). Raises UserError if a probe fails, for example for lack of memory.
    """
    config, phases, sizes = plan.config, plan.phases, plan.sizes
    ends = [phases[0], phases[-1]] if phases[0].resolution != phases[-1].resolution else [phases[-1]]
    seconds = {phase.resolution: _probe(config, data_dir, phase) for phase in ends}
    by_phase = [forecast.seconds_per_kimg(phase, ends, seconds, sizes) for phase in phases]
    return EasyDict(
        seconds=sum(s * (p.end_kimg - p.start_kimg) for s, p in zip(by_phase, phases)),
        per_kimg={p.resolution: s for s, p in zip(by_phase, phases)}, measured=sorted(seconds))


def probe_config(config, phase):
    """The configuration of a probe: the run's own, held at one resolution for a few iterations."""
    probe = config_files.to_easy(config)
    probe.sched.update(lod_initial_resolution=phase.resolution, lod_training_kimg=1e6, lod_transition_kimg=0,
                       tick_kimg_base=0.0001, tick_kimg_dict={})
    probe.train.update(total_kimg=ITERATIONS * phase.minibatch / 1000, minibatch_repeats=1, D_repeats=1,
                       image_snapshot_ticks=0, network_snapshot_ticks=0, checkpoint_kimg=1e6, checkpoint_minutes=1e6)
    probe.grid = EasyDict(size='1x1')
    probe.metrics = []
    return probe


def _probe(config, data_dir, phase):
    """Measured seconds per kimg in a phase, in a process of its own, since a process has one graph."""
    probe = probe_config(config, phase)
    text = config_files.dump_config(probe)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, 'probe.yaml')
        with open(path, 'w', encoding='utf-8') as f:
            f.write(text)
        allowed = [part for name in registry.allowed_modules() for part in ('--allow-module', name)]
        result = subprocess.run(
            [sys.executable, os.path.join(ROOT, 'train.py'), '--config', path, '--data-dir', data_dir, '--result-dir',
             folder] + allowed, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if result.returncode:
            lines = result.stderr.decode('utf-8', 'replace').strip().splitlines()
            raise UserError(f'the probe at {phase.resolution}x{phase.resolution} failed: '
                            f'{lines[-1] if lines else "no message"}')
        runs = [name for name in os.listdir(folder) if name != 'probe.yaml']
        ticks = run_files.read_ticks(os.path.join(folder, runs[0]))
    return float(np.median([tick['sec_per_kimg'] for tick in ticks[2:]]))
