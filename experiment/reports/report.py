"""`report.html` of a run directory: one file that shows how a training run goes, without network or other files.

Made from what the run directory holds; nothing in it is executed. `./reproduce report RUN_DIR` makes it anew.
"""

import contextlib
import glob
import os
import re

from dnnlib import registry
from dnnlib.command_line import Parser
from dnnlib.errors import UserError
from dnnlib.files import atomic_write
from dnnlib.submission import read_environment, read_submit_config
from dnnlib.submission.records import flatten
from dnnlib.util import EasyDict, run_main
from dnnlib.values import schema
from experiment import facts, forecast, settings
from experiment.phases import describe
from experiment.plan import Plan
from experiment.reports import card, page, pictures, plots, run_files
from experiment.reports import scores as scores_of_run
from metrics.networks import needs
from training.network_files import best
from training.state import resume

RECORD = {                  # of submit_config.json: what the page itself needs
    'config': {'num_gpus?': 'a whole number from 1 to 1024', 'dataset?': dict, 'sched?': dict, 'G?': dict, 'D?': dict,
               'train?': {'total_kimg?': 'a number from 0 to 1e12, .inf'}},
    'provenance?': {'*': 'a text'}}
# Of dataset.json, the same:
DATA = {key: resume.DATA[key] for key in ('shape', 'num_images', 'label_size', 'downscale?')}


def write_report(run_dir):
    """Writes `run_dir`/report.html. Returns its path. Raises UserError if this is not a run directory."""
    path = os.path.join(run_dir, 'report.html')
    run = gather(run_dir)
    text = page.render(run)
    with atomic_write(path, 'w') as f:
        f.write(text)
    return path


def gather(run_dir):
    """Collects what the report shows, as an EasyDict; see page.render.

    Of records other than that of the configuration, what is damaged is left out.
    """
    record = read_submit_config(run_dir)
    schema.check(record, RECORD, f"the run's record in {run_dir}")
    config = EasyDict({key: EasyDict(value) if isinstance(value, dict) else value
                       for key, value in record['config'].items()})
    starts, files = read_environment(run_dir), run_files.read(run_dir, DATA)
    data, stats, can = files.data, files.stats, _what_can_be_done(run_dir, record, config, files)
    plan, scores = _plan(config, data), scores_of_run.read_scores(run_dir, stats)
    phases = plan.phases if plan else []
    remaining = None
    if stats and phases and plan.sizes:
        remaining = forecast.remaining_seconds(phases, plan.sizes, stats[-1]['kimg'],
                                               run_files.seconds_by_resolution(stats))
    zoom = config.grid.get('zoom', 1) if isinstance(config.get('grid'), dict) else 1
    shown, reals = pictures.of_run(run_dir, facts.shown_shape(data), zoom)
    return EasyDict(
        files, run_dir=run_dir, name=os.path.basename(os.path.abspath(run_dir)), record=record, config=config,
        provenance=record['provenance'], settings=flatten(config), starts=starts, phases=phases,
        kimg=stats[-1]['kimg'] if stats else 0.0, scores=scores,
        best=scores_of_run.best_scores(scores, config.get('metrics')), remaining=remaining,
        plan=describe(phases) if phases else [], charts=plots.charts(stats, phases, scores_of_run.curves_of(scores)),
        pictures=shown, reals=reals, can=can)


# ---- What the page may offer


def _what_can_be_done(run_dir, record, config, files):
    """EasyDict of truths: finished, resume, checkpoint, draw, measure, encode, curves; and `metric`, the one to
    measure, which needs the files `missing`."""
    shape = (files.data or {}).get('shape', [])
    finished = os.path.exists(os.path.join(run_dir, '_finished.txt'))
    makes = str(config.get('G', {}).get('func_name', '')).rpartition('.')[2]
    try:
        whole = EasyDict({'train': {}}, **config)
        adversarial = settings.is_adversarial(whole)
        resume_taken = 'run_func_name' not in record and settings.loop_takes(whole, 'resume')
    except (AttributeError, TypeError, UserError):      # a record may name anything
        adversarial = resume_taken = False
    has_networks = bool(files.snapshots)
    is_image = len(shape) == 3 and (shape[0] in (1, 3) or makes == 'G_accel')     # which makes images of codes
    metrics = config.get('metrics')
    names = [name for name in map(_name_of, metrics if isinstance(metrics, list) else []) if name]
    metric = next((name for name in names if best.is_selected_by(name)), names[0] if names else
                  'fid50k' if is_image else 'jsd' if shape == [2] else None)
    missing = []
    if metric is not None:
        with contextlib.suppress(UserError, TypeError, ValueError):
            missing = needs.missing_files([metric], dict(config.get('dataset') or {},
                                                         data_dir=record.get('data_dir')))
    return EasyDict(
        finished=finished, resume=resume_taken,
        checkpoint=bool(glob.glob(os.path.join(glob.escape(run_dir), 'checkpoints', '*.ckpt'))),
        draw=adversarial and has_networks and is_image and makes != 'G_codec',
        measure=adversarial and has_networks and metric is not None and makes != 'G_codec', metric=metric,
        missing=missing, encode=has_networks and makes == 'G_codec',
        curves=bool(glob.glob(os.path.join(glob.escape(run_dir), 'events.out.tfevents*'))))


def _name_of(metric):
    name = metric.get('preset', metric.get('name')) if isinstance(metric, dict) else metric
    return name if isinstance(name, str) and re.match(r'[\w-]{1,60}\Z', name) else None


def _plan(config, data):
    """The run's Plan, None where it is not known, or where settings make no sense."""
    if data is None:
        return None
    config = EasyDict(config)
    for key, setting in settings.top_level().items():
        config.setdefault(key, setting.default)
    try:
        for name in ('train', 'sched', 'G', 'D', 'grid'):
            settings.check_section(name, config.setdefault(name, EasyDict()), {})
        return Plan(config, facts.recorded_data(data))
    except (AttributeError, TypeError, UserError):      # a record may hold anything for a section
        return None


def main(argv=None):
    """Makes the report of the run directory given on the command line."""
    parser = Parser(
        prog='./reproduce report',
        description='Makes the page report.html in a run directory again, and the model card README.md of a finished '
        'run; a run makes the page itself at every snapshot, and the card at its end.',
        epilog='examples:\n  ./reproduce report results/00003-demo')
    parser.add_argument('run_dir', metavar='RUN_DIR', help='directory of a run, finished or not')
    registry.add_option(parser)
    args = parser.parse_args(argv)
    registry.allow_modules(args)
    print(write_report(args.run_dir))
    path = card.write_card(args.run_dir)
    if path is not None:
        print(path)


if __name__ == '__main__':
    run_main(main)
