"""`train.py attributes`: a classifier of each attribute of a labelled data set (StyleGAN paper, section 8).

They are trained one after the other, each as the configuration `attribute-classifier` says, and finished ones are kept.
"""

import os
import re
from collections import OrderedDict

import config as folders
from data.records.dataset import load_dataset, load_training_set
from dnnlib import registry
from dnnlib.command_line import Parser, shown, told
from dnnlib.config_files import format_value
from dnnlib.files import make_folders, recall_json
from dnnlib.submission.submit import run_in_dir
from dnnlib.util import UserError, call_func_by_name
from experiment import facts, run_config, settings
from experiment.plan import Plan
from metrics.networks import files

CONFIG = 'attribute-classifier'
EXAMPLES = '''examples:
  ./reproduce train attributes --dataset datasets/celebahq --out results/classifiers
  ./reproduce train attributes --dataset datasets/mine --out results/mine --set train.total_kimg=20
'''


def make_parser():
    """The command line's options."""
    parser = Parser(
        prog='train.py attributes', epilog=EXAMPLES,
        description='Trains a classifier of each attribute of a labelled data set, one after the other, as linear '
        'separability needs them: classifier-NAME.pkl, with its accuracy in classifier-NAME.json. What is finished is '
        'not trained again; run_metrics.py ls --classifiers DIR measures with them.')
    parser.add_argument('--dataset', metavar='DIR', required=True, help='data set with labels')
    parser.add_argument('--out', metavar='DIR', required=True, help='folder of the classifiers')
    parser.add_argument('--attributes', metavar='LIST', help='names, separated by commas (default: all that the data '
                        'set has)')
    parser.add_argument('--set', metavar='KEY=VALUE', action='append', default=[], dest='overrides',
                        help=f"change a setting of the configuration '{CONFIG}', such as train.total_kimg=20")
    parser.add_argument('--seed', type=int, metavar='INT', help='seed, 0 to 2147483647 (default: 1000)')
    parser.add_argument('--device', choices=['auto', 'cpu', 'gpu'], help='what to compute on (default: auto)')
    registry.add_option(parser)
    return parser


def main(argv=None):
    """Parses the command line and trains what is missing; returns the exit status."""
    return train_all(make_parser().parse_args(argv))


def train_all(args):
    """Trains what is missing. Returns the exit status, 0 also where it was asked to stop. Raises UserError."""
    registry.allow_modules(args)
    if not os.path.isdir(args.dataset):
        raise UserError(f"there is no data set '{args.dataset}'; make it with dataset_tool.py")
    data_dir, name = os.path.split(os.path.abspath(args.dataset))
    with load_dataset(tfrecord_dir=args.dataset, max_label_size='full', prefetch_mb=0) as data:
        if not data.is_image:
            raise UserError(f"'{args.dataset}' holds samples of {data.shape} {data.dtype}; classifiers look at "
                            'pictures')
        wanted = _choose(data, args.attributes)
        # What separability looks at is no larger.
        resolution = min(data.resolution, files.CLASSIFIER_RESOLUTION)
    overrides = [f'dataset.tfrecord_dir={format_value(name)}', f'dataset.resolution={resolution}',
                 f'train.attribute={format_value(wanted[0])}'] + args.overrides
    base, _ = run_config.load(CONFIG, folders.config_dir, overrides, dict(seed=args.seed, device=args.device))
    with load_training_set(base.seed, data_dir=data_dir, **dict(base.dataset, prefetch_mb=0)) as data:
        Plan(base, facts.describe(data))    # refuses what a classifier would pass over
        fingerprint = data.fingerprint
    pending = [attribute for attribute in wanted if not _is_done(args.out, attribute, base, fingerprint)]
    print(f'{len(wanted)} classifiers, of which {len(wanted) - len(pending)} are done already', flush=True)

    def train_pending(context):
        for number, attribute in enumerate(pending, 1):
            print(f'{attribute}: {number} of {len(pending)}', flush=True)
            if _train(args.out, context, base, attribute, data_dir) == 'stopped':
                return 'stopped'
        return 'finished'
    make_folders(args.out)
    if pending and run_in_dir(args.out, train_pending) == 'stopped':
        print('Stopped; start again to go on', flush=True)
        return 0
    print(f"The classifiers cover {files.coverage(files.find_classifiers(args.out))} of CelebA's "
          f"{len(files.ATTRIBUTES)} attributes; measure with: "
          + told('run_metrics.py', ['ls', '--network', 'NETWORK', '--classifiers', shown(args.out)]), flush=True)
    return 0


def _choose(data, asked):
    """The attributes that are asked for, of those that the data set has. Raises UserError."""
    from metrics.classifier_training import find_attribute
    if asked is None:
        asked = ','.join(data.label_names or [f'label-{index}' for index in range(data.label_size)])
    # Also where there are no labels: says so.
    found = OrderedDict()
    for name in asked.split(','):
        name = find_attribute(data, name.strip(), '--attributes')[1]
        slug = files.slug(name)
        if not re.match(r'[^/\\\0]{1,100}\Z', slug):
            raise UserError(f"the attribute '{name:.60}' can be no part of a file's name; rename it in the manifest of "
                            'the data set')
        if found.setdefault(slug, name) != name:
            raise UserError(f"the attributes '{found[slug]}' and '{name}' would have one classifier, "
                            f'classifier-{slug}.pkl; rename one in the manifest of the data set')
    return list(found)


def _is_done(folder, attribute, configuration, fingerprint):
    """Whether a classifier is there. Raises UserError for one that was trained otherwise."""
    from metrics.scores import records
    stem = os.path.join(folder, 'classifier-' + attribute)
    record = recall_json(stem + '.json')
    if record is None or not os.path.isfile(stem + '.pkl'):
        return False
    train = settings.with_defaults('train', configuration.train)
    wanted = dict(seed=configuration.seed, dataset_fingerprint=fingerprint, settings=dict(
        D=configuration.D, D_opt=configuration.D_opt, **{key: train[key] for key in (
            'total_kimg', 'minibatch_size', 'learning_rate', 'mirror_augment', 'held_out')}))
    others = [key for key, value in records.plain(wanted).items() if record.get(key) != value]
    if others:
        raise UserError(f"{stem}.pkl was trained otherwise ({', '.join(others)} differ, see {stem}.json); choose "
                        'another folder with --out, or delete it')
    return True


def _train(folder, context, configuration, attribute, data_dir):
    """Trains one classifier in a graph and a session of its own. Returns 'finished' or 'stopped'."""
    from dnnlib import tflib
    tf = tflib.tf
    kwargs = run_config.loop_arguments(configuration, data_dir)
    with tf.Graph().as_default(), tflib.create_session(dict(configuration.tf_config)).as_default() as session:
        tf.set_random_seed(configuration.seed)
        outcome = call_func_by_name(func_name=configuration.train.func_name, run_dir=folder, run_context=context,
                                    **dict(kwargs, attribute=attribute))
        session.close()
    return outcome
