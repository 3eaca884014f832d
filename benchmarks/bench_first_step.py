"""From nothing to the end of the first training step, against the project's first version that trained.

    ./reproduce shell python benchmarks/bench_first_step.py [--quick]

Every measurement has a process of its own; the two versions take turns. The first version comes from this checkout's
git history; without it the time of a later step is all that the figures are compared with.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
if ROOT not in sys.path:
    sys.path.insert(0, ROOT)

import check_python  # noqa: E402, F401, I001
import short_form  # noqa: E402
from dnnlib.util import run_main  # noqa: E402

ROUNDS = 5
FIRST_VERSION = 'e40112cf2c393d6f0b29724142d1cfa58d6732e0'

_CHILD = """
import json, sys, time
sys.path[:0] = [{tree!r}, {benchmarks!r}]
import training_steps
from training import dataset, loss, networks_stylegan, towers
times = [time.perf_counter()]
step, close = training_steps.build_step({resolution}, 1)
for _ in range(2):
    times.append(time.perf_counter())
    step()
times.append(time.perf_counter())
print(json.dumps([later - times[0] for later in times[1:]]))
"""


def measure(tree, resolution):
    """Seconds from the start, after imports, until the graph is built, the first and the second step are done."""
    script = _CHILD.format(tree=tree, benchmarks=os.path.dirname(os.path.abspath(__file__)), resolution=resolution)
    done = subprocess.run([sys.executable, '-c', script], cwd=tree, stdout=subprocess.PIPE, universal_newlines=True,
                          check=True, env=dict(os.environ, TF_CPP_MIN_LOG_LEVEL='3'))
    return json.loads(done.stdout.strip().splitlines()[-1])


def unpack_first_version(folder):
    """Whether the first version's files could be had from git; they are then in `folder`."""
    done = subprocess.run(['git', 'archive', FIRST_VERSION], cwd=ROOT, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL)
    if done.returncode != 0:
        return False
    subprocess.run(['tar', '-x', '-C', folder], input=done.stdout, check=True)
    return True


def rows(quick=False):
    """The figures as dicts (what, figure, unit, ratio, ratio_to, floor); `quick` takes 32 pixels and one round."""
    resolution, rounds = (32, 1) if quick else (256, ROUNDS)
    with tempfile.TemporaryDirectory() as folder:
        trees = [ROOT] + ([folder] if unpack_first_version(folder) else [])
        found = [[measure(tree, resolution) for tree in trees] for _ in range(rounds)]
    built, first, second = [statistics.median(times) for times in zip(*[now for now, *_ in found])]
    later = second - first
    what = f'training graph of {resolution}², full size: '
    result = [dict(what=what + 'building', figure=built, unit='s', ratio=built / later,
                   ratio_to='a later step of one image'),
              dict(what=what + 'building and first step of one image', figure=first, unit='s', ratio=first / later,
                   ratio_to='a later step of one image', floor='one step')]
    if len(trees) > 1:
        _, first_then, _ = [statistics.median(times) for times in zip(*[then for _, then in found])]
        result.append(dict(what=what + 'the same in the first version', figure=first_then, unit='s',
                           ratio=first / first_then, ratio_to='now over then'))
    return result


def main():
    """Prints the rows."""
    short_form.print_rows(__doc__, rows)


if __name__ == '__main__':
    run_main(main)
