"""Measures trained generators; see `run_metrics.py --help` and docs/metrics.md."""

import os
import re
import sys

import check_python  # noqa: F401
import config as folders
from dnnlib import artifacts, registry
from dnnlib.command_line import Parser
from dnnlib.files import check_writable
from dnnlib.seeds import seed_option
from dnnlib.util import UserError, printable, run_main
from metrics import presets

EXAMPLES = '''examples:
  ./reproduce metrics fid50k,ppl_wend --network results/00003-demo --dataset datasets/toyfaces-32
  ./reproduce metrics fid50k --run results/00003-demo --all-snapshots
  ./reproduce metrics ls --network ffhq-1024
  ./reproduce metrics fid,kid,pr --images results/images --reference datasets/toyfaces-32
  ./reproduce metrics stats --reference datasets/toyfaces-32 --out toyfaces-32.npz
  ./reproduce metrics fid --images results/images --reference toyfaces-32.npz
  ./reproduce metrics fid50k --network ffhq-1024 --reference ffhq-1024.npz
  ./reproduce metrics table --list-tables
  ./reproduce metrics table stylegan-4 --network ffhq-style-2=results/00012-ffhq-style-2 --dry-run
  ./reproduce table1 --columns celeba --dataset celeba=datasets/celeba-256 --dry-run
  ./reproduce table1 --network results/00003-demo --preset quick
  ./reproduce metrics curves results/00003-ffhq-b results/00004-ffhq-f --measure --snapshots 12
  ./reproduce metrics identity --network results/00003-casia --dataset datasets/casia-256 --embedding net.onnx
  ./reproduce metrics explain a/fid50k.json b/fid50k.json
'''


# Options that say how some metrics are measured, by the beginnings of these metrics' names.
OPTIONS_OF = {('--fid-reals',): ('fid',), ('--ppl-ends',): ('ppl_zend', 'ppl_wend'), ('--ppl-rejection',): ('ppl',),
              ('--classifiers', '--classifier-blur', '--keep-planes'): ('ls',)}


def _examples(form):
    """The examples of one form of the command."""
    return ''.join(line for line in EXAMPLES.splitlines(True) if line.startswith('examples:') or f' {form} ' in line)


def _common(parser, of_networks=True, of_metrics=True, is_random=True):
    """Options that all forms which measure share, and those that need networks, metrics of these, or random numbers."""
    group = parser.add_argument_group('protocol')
    if of_networks and of_metrics:
        group.add_argument('--preset', choices=['full', 'quick'], default='full', help='full: the published numbers of '
                           'samples (default); quick: far fewer, for a first look')
    if is_random:
        group.add_argument('--seed', type=seed_option, default=0, metavar='INT',
                           help='seed of all random numbers, 0 to 4294967295 (default: 0)')
    group.add_argument('--features', choices=['auto', 'released', 'standin'], default='auto',
                       help='feature networks: the released ones, or the small stand-ins that are part of this project '
                       '(default: auto, stand-ins for drawn faces and the released ones for everything else)')
    if of_networks and of_metrics:
        _add_choices(group)
    group = parser.add_argument_group('where')
    group.add_argument('--device', choices=['auto', 'cpu', 'gpu'], default='auto', help='what to compute on '
                       '(default: auto, GPUs where there are any)')
    if of_networks:
        group.add_argument('--num-gpus', type=int, default=1, metavar='INT',
                           help='GPUs, or virtual devices on a CPU, that share the sampling (default: 1)')
    group.add_argument('--data-dir', default=folders.data_dir, metavar='DIR', help='folder of the data sets')
    group.add_argument('--artifacts-dir', metavar='DIR', help='folder of released files')
    registry.add_option(group)
    if of_networks:
        group.add_argument('--trust-stored-code', action='store_true', help='execute code stored in a network pickle '
                           'where this project does not know its build function')
    # What a form does not ask for.
    defaults = dict(num_gpus=1, seed=0, classifiers=None, classifier_blur='yes', trust_stored_code=False)
    parser.set_defaults(**{name: value for name, value in defaults.items() if parser.get_default(name) is None})


def _add_choices(group):
    """Options where the papers and the released code part, and for classifiers."""
    group.add_argument('--fid-reals', choices=['order', 'random'], default='order', help='reals of FID: the first of '
                       'the data set, as the released code (default), or drawn with the seed, as the paper says')
    group.add_argument('--ppl-ends', choices=['0', '01'], default='0', help='where ppl_zend and ppl_wend measure: at '
                       't = 0, as the released code (default), or at 0 or 1, drawn for each path, as the paper says')
    group.add_argument('--ppl-rejection', choices=['yes', 'no'], default='yes', help='whether path lengths leave out '
                       'the lowest and the highest percent of distances, as the released code (default), or not')
    group.add_argument('--classifiers', metavar='DIR', help='folder of attribute classifiers of your own for ls, which '
                       'train.py attributes makes (default: the released ones)')
    group.add_argument('--classifier-blur', choices=['yes', 'no'], default='yes', help='whether attribute classifiers '
                       'blur before down-convolutions, where their files do not say (default: yes)')


def _checked(args):
    """Options that every machine could follow, with the user's modules allowed, before anything heavy is loaded."""
    registry.allow_modules(args)
    if args.num_gpus < 1:
        raise UserError(f'--num-gpus is {args.num_gpus}; at least 1 is expected')
    return args


def parse_args(argv):
    """(options, function) of each of the forms, such as `table NAME …` and `curves RUN …`; without one, of metrics."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ['stats'] or any(word == '--images' or word.startswith('--images=') for word in argv):
        return parse_set_args(argv)
    form = argv[0] if argv else None
    if form == 'explain':
        return parse_explain_args(argv[1:]), explain
    if form in ('table', 'table1'):
        return parse_table_args(argv), table
    if form == 'curves':
        return parse_curves_args(argv[1:]), curves
    if form == 'identity':
        return parse_identity_args(argv[1:]), identity
    return parse_network_args(argv), measure


def parse_explain_args(argv):
    """Options of `explain A B`."""
    parser = Parser(prog='run_metrics.py explain', epilog=_examples('explain'),
                    description='Says field by field why two scores may differ.')
    parser.add_argument('records', nargs=2, metavar='RECORD.json', help='the JSON records of two scores')
    return parser.parse_args(argv)


def parse_network_args(argv):
    """Options of `NAMES --network NETWORK` and `NAMES --run RUN`."""
    parser = Parser(
        description='Measures a network and writes a JSON record with the whole protocol per score. Other forms: '
        'run_metrics.py table NAME ..., curves RUN ..., identity ..., explain A B.', epilog=EXAMPLES)
    parser.add_argument('names', metavar='NAMES', help='metrics, separated by commas: fid50k, ppl_zfull, ppl_wfull, '
                        'ppl_zend, ppl_wend, ls; beyond the papers\': kid50k, pr50k, fid50k_mix2, fid50k_mix3, '
                        'fid50k_mix4, fid50k_decoded, nearest; of points: jsd, mode_coverage')
    group = parser.add_argument_group('what to measure')
    group.add_argument('--network', metavar='NETWORK', help='file, run directory or number (its best snapshot where '
                       'one is known, else its last; RUN:best, RUN:final and RUN:000049 say which), name of a released '
                       'file, or address')
    group.add_argument('--run', metavar='RUN', help='the same for a run')
    group.add_argument('--all-snapshots', action='store_true', help='every snapshot of the run, in order')
    group.add_argument('--dataset', metavar='DIR', help="data set that it was trained on (default: the run's)")
    group.add_argument('--reference', metavar='FILE', help='statistics that stand for the reals of fid50k and its '
                       'like, which run_metrics.py stats made')
    group.add_argument('--mirror-augment', action='store_true', default=None, help="mirror reals at random as in "
                       "training (default: as the run's configuration says, else no)")
    group.add_argument('--no-mirror-augment', dest='mirror_augment', action='store_false', help='do not')
    group.add_argument('--untrained', action='store_true', help='give the network fresh weights first, for a baseline')
    group.add_argument('--num-samples', type=int, metavar='INT', help='samples, in place of the preset\'s number')
    group.add_argument('--labels', metavar='LABELS', help='labels of generated images, for networks that take some: '
                       'data, zeros, a class by its number or name (index:3 or name:3 where it could be both), or a '
                       'vector such as 0.5,0,0.5 (default: data, '
                       'drawn as often as the training data have them, if these are known, else zeros)')
    group.add_argument('--keep-planes', metavar='FILE', help='keep the planes in W of ls as .npz, for generate.py '
                       '--directions')
    group.add_argument('--out', metavar='DIR', help='folder of the records (default: metrics/<snapshot> in the run '
                       'directory, or metrics/<network> in the results folder)')
    _common(parser)
    args = parser.parse_args(argv)
    _check_network_args(args, parser)
    return _checked(args)


def _check_network_args(args, parser):
    """Enters the metrics that are meant, `specs`, and exits with a sentence where options do not go together."""
    # Names come first, so what is wrong with them is said first.
    args.specs = presets.chosen(args.names.split(','), args.preset == 'quick', args.num_samples,
                                protocol(args))
    for options, beginnings in OPTIONS_OF.items():
        if not any(spec.name.startswith(beginnings) for spec in args.specs):
            parser.refuse(options, f"has no effect on {args.names}; it is for {' and '.join(beginnings)}")
    if (args.network is None) == (args.run is None):
        parser.error('give either --network or --run')
    if args.reference is not None:
        if args.dataset is not None or args.mirror_augment is not None:
            parser.error('--reference stands for the reals, mirrored or not; leave out --dataset and --mirror-augment')
        _take_reference(args)
    if args.all_snapshots and args.keep_planes is not None:
        parser.error('--keep-planes keeps the planes of one network, not of --all-snapshots')
    if args.all_snapshots and args.run is None:
        parser.error('--all-snapshots needs --run')
    if args.keep_planes is not None:
        check_writable(os.path.dirname(os.path.abspath(args.keep_planes)), 'choose another one with --keep-planes')
    refuse_without_data(args)


def _take_reference(args):
    """Makes statistics stand for reals; features are those that they were taken with, unless the user says others."""
    from metrics.sets.sources import Statistics
    if not os.path.isfile(args.reference):
        raise UserError(f"--reference: there is no file '{args.reference}'; of a network, it takes statistics that "
                        'run_metrics.py stats made')
    args.reference = os.path.abspath(args.reference)
    args.specs = presets.with_reference(args.specs, args.reference)
    if args.features == 'auto':
        args.features = 'standin' if Statistics(args.reference).facts['is_standin'] else 'released'


def refuse_without_data(args):
    """Raises UserError if a released network would be downloaded for metrics that then lack a data set."""
    if args.dataset is not None or args.network is None or os.path.exists(args.network):
        return
    names = [spec.name for spec in args.specs if presets.uses_dataset(spec)]
    if names and (artifacts.lookup(args.network) is not None or '://' in args.network):
        raise UserError(f"{', '.join(names)} compares with real images: name the data set with --dataset DIR")


def parse_set_args(argv):
    """Options of `NAMES --images DIR --reference DIR`, which needs no network, and of `stats`."""
    is_stats = argv[:1] == ['stats']
    parser = Parser(
        prog='run_metrics.py stats' if is_stats else 'run_metrics.py NAMES',
        epilog=_examples('stats' if is_stats else '--images'),
        description='Stores mean and covariance of the features of images in a file, which --reference takes in their '
        'place and which can be given away.' if is_stats else 'Compares a set of images with another. Every image of '
        'both counts once.')
    group = parser.add_argument_group('what to measure')
    if not is_stats:
        group.add_argument('names', metavar='NAMES', help='fid, kid and pr (precision and recall), separated by commas')
        group.add_argument('--images', metavar='SET', required=True, help='folder of pictures of one size, or data set')
    group.add_argument('--reference', metavar='SET', required=True, help='the same' if is_stats else
                       'the same, or for fid a file that run_metrics.py stats made')
    group.add_argument('--mirror-augment', action='store_true', help="the reference's images count a second time, "
                       'mirrored')
    group.add_argument('--minibatch', type=int, default=25, metavar='INT', help='images at a time (default: 25)')
    group.add_argument('--out', metavar='FILE' if is_stats else 'DIR', required=is_stats,
                       help='file to write, .npz' if is_stats else
                       "folder of the records (default: metrics/ and the images' name in the results folder)")
    _common(parser, of_networks=False, is_random=not is_stats)
    args = parser.parse_args(argv[1:] if is_stats else argv)
    if args.minibatch < 1:
        parser.error(f'--minibatch is {args.minibatch}; at least 1 is expected')
    return _checked(args), take_statistics if is_stats else compare_sets


def parse_table_args(argv):
    """Options of `table NAME …`, and of `table1 …`, which is Table I of the Re-Training paper."""
    form = argv[0]
    parser = Parser(
        prog=f'run_metrics.py {form}', epilog=_examples(form),
        description='Makes a table of a paper, as NAME.md, .csv, .json and .html: published and reproduced values. '
        'What is measured already is not measured again.')
    if form == 'table':
        parser.add_argument('name', metavar='NAME', nargs='?', help='which table; see --list-tables')
        parser.add_argument('--list-tables', action='store_true', help='list the tables')
    parser.add_argument('--columns', metavar='LIST', help='columns to make, separated by commas (default: all)')
    parser.add_argument('--network', action='append', default=[], metavar='[NAME=]NETWORK',
                        help="what takes the place of a network of the table, such as a run; NAME is the table's name "
                        'for it, see --dry-run; without NAME, a table of one column for this network or run')
    parser.add_argument('--dataset', action='append', default=[], metavar='[NAME=]DIR', help='data set, by the name of '
                        "the table's data set or of one of its networks (default: in the data folder)")
    parser.add_argument('--out', metavar='DIR', help='folder of the table and its records (default: NAME in the '
                        'results folder, or in the run directory)')
    parser.add_argument('--dry-run', action='store_true',
                        help='only list what is missing; the exit status is 2 if anything is')
    parser.add_argument('--skip-missing', action='store_true', help='make the table without what is missing')
    _common(parser)
    args = parser.parse_args(argv[1:])
    args.stem = None
    if form == 'table1':
        args.name, args.list_tables, args.stem = 'retraining-1', False, 'table1'
    if args.name is None or args.list_tables:
        parser.refuse([option for option in parser.options() if option != '--list-tables'],
                      'says how a table is made: name it, or leave the option out to list the tables')
        if args.name is not None:
            raise UserError(f"--list-tables lists all tables; leave it out to make '{args.name}'")
    return _checked(args)


def parse_curves_args(argv):
    """Options of `curves RUN …`."""
    parser = Parser(
        prog='run_metrics.py curves', epilog=_examples('curves'),
        description='Draws scores over the course of training, several runs on one picture (StyleGAN paper, Fig. 7), '
        'as curves.png and curves.csv. Each run shows the path lengths of its own space: W where its generator has a '
        'mapping network, Z elsewhere.')
    parser.add_argument('runs', nargs='+', metavar='RUN', help='directories or numbers of runs')
    group = parser.add_argument_group('what to draw')
    group.add_argument('--metrics', default='fid50k,ppl_zfull,ppl_wfull,ppl_wend', metavar='LIST',
                       help='metrics, separated by commas (default: %(default)s)')
    group.add_argument('--measure', action='store_true', help='compute the scores that are missing (default: draw '
                       'those that there are)')
    group.add_argument('--snapshots', type=int, metavar='INT', help='with --measure: of so many snapshots of each run, '
                       'evenly chosen (default: of all)')
    group.add_argument('--out', metavar='DIR', help='folder of picture and table (default: curves in the results '
                       'folder)')
    _common(parser)
    drawing = ['--metrics', '--measure', '--out', '--allow-module']
    parser.only_with('--measure', *[option for option in parser.options() if option not in drawing])
    args = parser.parse_args(argv)
    if args.snapshots is not None and args.snapshots < 2:
        parser.error('--snapshots must be at least 2')
    return _checked(args)


def parse_identity_args(argv):
    """Options of `identity …`."""
    parser = Parser(
        prog='run_metrics.py identity', epilog=_examples('identity'),
        description='Does a generator repeat the persons of its training data? Distances of generated to training '
        'faces and of generated faces among each other, beside those of same and different persons in the data: '
        'identity.json, .csv and .png, with histograms and the ROC curve. Persons are the classes of the data set.')
    group = parser.add_argument_group('what to measure')
    group.add_argument('--network', metavar='NETWORK', required=True, help='file, run directory or number, name of a '
                       'released file, or address')
    group.add_argument('--dataset', metavar='DIR', help="data set that it was trained on (default: the run's)")
    group.add_argument('--embedding', metavar='FILE', help='network that tells persons apart: an ONNX model, or a '
                       'frozen graph (.pb) (default: for drawn faces, a stand-in of this project)')
    group.add_argument('--embedding-range', metavar='LOW,HIGH', default='-1,1', help='what it wants pixels of 0 and '
                       '255 to be (default: %(default)s; write --embedding-range=-1,1)')
    group.add_argument('--num-samples', type=int, default=5000, metavar='INT', help='generated faces, and training '
                       'faces at most (default: 5000)')
    group.add_argument('--labels', metavar='LABELS', help='labels of generated images (default: data)')
    group.add_argument('--out', metavar='DIR', help='folder of record, table and picture (default: metrics in the run '
                       'directory, or metrics/<network> in the results folder)')
    _common(parser, of_metrics=False)
    parser.only_with('--embedding', '--embedding-range')
    args = parser.parse_args(argv)
    numbers = re.match(r'(-?\d{1,6}(?:\.\d{1,6})?),(-?\d{1,6}(?:\.\d{1,6})?)\Z', args.embedding_range)
    args.embedding_range = [float(number) for number in numbers.groups()] if numbers else [0, 0]
    if args.embedding_range[0] >= args.embedding_range[1]:
        parser.error('--embedding-range: two rising numbers such as -1,1 are expected')
    if args.num_samples < 2:
        parser.error('--num-samples must be at least 2')
    if args.embedding is not None and not os.path.isfile(args.embedding):
        raise UserError(f"there is no embedding network '{args.embedding}'")
    return _checked(args)


# ---- The forms, each of which returns the exit status and the directories of the runs that it measured


def explain(args):
    """Prints why two scores may differ."""
    from metrics.scores.explain import compare
    from metrics.scores.records import read_record
    for line in compare(*[read_record(path) for path in args.records], names=args.records):
        print(printable(line))
    return 0, []


def measure(args):
    """Measures one network, or all snapshots of a run."""
    from training.network_files.data import data_of
    from training.network_files.locate import locate, locate_snapshots
    options, data = options_of(args), None
    if args.dataset is not None:
        data = dict(tfrecord_dir=find_dataset(args.dataset, args.data_dir))
    if args.all_snapshots:
        found = locate_snapshots(args.run)
    else:
        option = '--run' if args.run is not None else '--network'
        found = [locate(args.run or args.network, option=option).tell()]
    run_dir = found[0].run_dir
    data, mirrored = data_of(run_dir, data, args.mirror_augment)
    select_devices(args)
    from metrics.context import NetworkUnusable
    from metrics.jobs import Job
    problems = False
    for network in found:
        name = network.name + ('-untrained' if args.untrained else '')
        out_dir = args.out or (os.path.join(run_dir, 'metrics') if run_dir is not None
                               else os.path.join(folders.result_dir, 'metrics'))
        if args.out is None or args.all_snapshots:
            out_dir = os.path.join(out_dir, name)
        job = Job(args.specs, network, out_dir, dataset_args=data, mirror_augment=mirrored, run_dir=run_dir,
                  untrained=args.untrained, labels=args.labels, keep_planes=args.keep_planes, **options)
        try:
            job.run(again=not args.all_snapshots)
        except NetworkUnusable as err:
            if len(found) == 1:
                raise
            print(f'{name} is left out: {err}', file=sys.stderr, flush=True)
            problems = True
            continue
        problems |= job.has_failed
        print(f'Records: {os.path.abspath(out_dir)}', flush=True)
    return int(problems), [run_dir] if run_dir is not None else []


def compare_sets(args):
    """Scores a set of images against another."""
    from metrics.sets import sources
    names = presets.of_sets(args.names.split(','))
    options_of(args)
    images = sources.open_set(args.images, args.data_dir, '--images')
    reference = sources.open_set(args.reference, args.data_dir, '--reference')
    out_dir = args.out or os.path.join(folders.result_dir, 'metrics', images.name)
    check_writable(out_dir, 'choose another one with --out')
    select_devices(args)
    from metrics.sets import measure
    measure.compare(names, images, reference, args.features, args.minibatch, args.seed, args.mirror_augment, out_dir)
    print(f'Records: {os.path.abspath(out_dir)}', flush=True)
    return 0, []


def take_statistics(args):
    """Stores the statistics of a set of images. Raises UserError."""
    from metrics.sets import sources
    if not args.out.endswith(sources.SUFFIX):
        raise UserError(f"--out is '{args.out}'; the file's name ends in {sources.SUFFIX}")
    options_of(args)
    source = sources.open_set(args.reference, args.data_dir, '--reference')
    if os.path.isdir(args.out):
        raise UserError(f"--out: '{args.out}' is a folder; name a file")
    if os.path.lexists(args.out):
        raise UserError(f"--out: '{args.out}' exists already; choose another name or delete it first")
    check_writable(os.path.dirname(os.path.abspath(args.out)), 'choose another one with --out')
    select_devices(args)
    from metrics.sets import measure
    found, facts = measure.take_statistics(source, args.features, args.minibatch, args.mirror_augment)
    sources.write_statistics(args.out, found, facts)
    print(f"{args.out}: mean and covariance of {facts['features']} of {facts['num_images']} images", flush=True)
    return 0, []


def table(args):
    """Makes a table, lists what it lacks, or lists all tables."""
    from metrics.tables import definition
    if args.name is None or args.list_tables:
        for name, title, paper in definition.list_tables(folders.config_dir):
            print(f'{name:<14} {paper}, {title}')
        return 0, []
    definition.load_table(args.name, folders.config_dir)    # a wrong name is told before anything heavy is loaded
    from experiment.gpu_days import gpu_days
    from metrics.tables import make
    order = make.Order(args.name, None if args.columns is None else [name for name in args.columns.split(',') if name],
                       pairs(args.network), pairs(args.dataset), args.out, args.stem)
    status = make.make_table(order, lambda name: find_dataset(name, args.data_dir), quick=args.preset == 'quick',
                             dry_run=args.dry_run, skip_missing=args.skip_missing, gpu_days=gpu_days,
                             protocol=protocol(args), prepare=lambda: select_devices(args), **options_of(args))
    return status, []   # its records lie beside the table


def curves(args):
    """Draws scores over the course of training."""
    from experiment.studies import curves as drawing
    members = drawing.make(args.runs, [name.strip() for name in args.metrics.split(',') if name.strip()],
                           args.out or os.path.join(folders.result_dir, 'curves'), args.measure,
                           quick=args.preset == 'quick', most=args.snapshots, protocol=protocol(args),
                           prepare=lambda: select_devices(args), **options_of(args))
    return 0, [member.dir for member in members] if args.measure else []


def identity(args):
    """Compares generated with training faces by who they show."""
    from training.network_files.data import data_of
    from training.network_files.locate import locate
    options, data = options_of(args), None
    if args.dataset is not None:
        data = dict(tfrecord_dir=find_dataset(args.dataset, args.data_dir))
    found = locate(args.network, option='--network').tell()
    data, _ = data_of(found.run_dir, data, False)
    out_dir = args.out or (os.path.join(found.run_dir, 'metrics') if found.run_dir is not None
                           else os.path.join(folders.result_dir, 'metrics', found.name))
    select_devices(args)
    from experiment.studies import identity as study
    study.measure(found, out_dir, args.num_samples, args.embedding, args.embedding_range, data, labels=args.labels,
                  **options)
    return 0, []


# ---- Small helpers


def protocol(args):
    """The settings in which the papers and the released code part, as the options say."""
    return dict(reals=args.fid_reals, ends={'0': 'start', '01': 'both'}[args.ppl_ends],
                rejection=args.ppl_rejection == 'yes')


def select_devices(args):
    """Chooses what to compute on, which imports TensorFlow: only when what is to be measured has been found."""
    from dnnlib import tflib
    tflib.select_device(args.device, args.num_gpus)


def options_of(args):
    """The options that all metrics take. From then on released files are looked for where --artifacts-dir says."""
    from dnnlib.artifacts import store
    if args.artifacts_dir is not None:
        os.environ[store.ENVIRONMENT] = os.path.abspath(args.artifacts_dir)
    settings = {'classifier_blur': args.classifier_blur == 'yes'}
    if args.classifiers is not None:
        from metrics.networks import files
        settings['classifiers'] = os.path.abspath(args.classifiers)
        files.find_classifiers(settings['classifiers'])     # names what is wrong before anything is loaded
    return dict(num_gpus=args.num_gpus, seed=args.seed, features=args.features,
                feature_settings=settings,
                trust_stored_code=args.trust_stored_code)


def find_dataset(name, data_dir):
    """Directory of a data set given by path or by its name in the data folder. Raises UserError."""
    for path in ([name, os.path.join(data_dir, name)] if name else []):
        if os.path.isdir(path):
            return os.path.abspath(path)
    raise UserError(f"there is no data set '{name}', neither here nor in {data_dir}; make it with dataset_tool.py")


def pairs(texts):
    """['a=b', 'c'] as {'a': 'b', None: 'c'}."""
    result = {}
    for text in texts:
        column, equals, value = text.partition('=')
        if not equals or os.path.exists(text):
            column, value = None, text
        if not value:
            raise UserError(f"'{text}' names nothing after the equals sign")
        if result.setdefault(column, value) != value:
            raise UserError(f"'{result[column]}' and '{value}' are both given for "
                            f"{'the whole table' if column is None else repr(column)}; keep one of them")
    return result


def main(argv=None):
    """Parses the command line and does what it says; returns the exit status. Runs' reports show what was measured."""
    args, action = parse_args(argv)
    status, run_dirs = action(args)
    if run_dirs:
        from experiment import watch
        for run_dir in run_dirs:
            watch.write_report(run_dir)
    return status


if __name__ == '__main__':
    run_main(main)
