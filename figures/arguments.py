"""What the command lines around generators have in common: naming a network, a device, seeds.

TensorFlow is imported when a network is opened, so that help and wrong arguments are answered at once.
"""

import argparse
import os
import re

import numpy as np

from dnnlib import registry
from dnnlib.util import EasyDict, UserError, without_passwords
from training.network_files import labels


def add_network_arguments(parser, default=None):
    """Adds the options that `open_network` reads."""
    group = parser.add_argument_group('network')
    shown = f' (default: {default})' if default else ''
    group.add_argument('--network', metavar='NAME|FILE|URL|RUN', default=default, required=default is None,
                       help='a released network (`./reproduce artifacts list`), a file, its address, or a run '
                       'directory or number, whose best snapshot is taken where one is known, else its last; RUN:best, '
                       'RUN:final and RUN:000049 say which' + shown)
    group.add_argument('--artifacts-dir', metavar='DIR', help='folder of released files that are here already')
    group.add_argument('--trust-stored-code', action='store_true', help='execute the program text in the pickle where '
                       'its networks are not known here; only for files from people whom you trust')
    registry.add_option(group)
    group.add_argument('--device', choices=['auto', 'cpu', 'gpu'], default='auto', help='what to compute on')
    group.add_argument('--minibatch', type=_at_least_1, default=8, metavar='INT', help='images at a time (default: 8)')


def number_of_layers(text):
    """The type of options such as --cutoff."""
    if not re.match(r'[0-9]{1,4}\Z', text):
        raise argparse.ArgumentTypeError(f"'{text[:20]}' is not a number of layers, from 0 on")
    return int(text)


def _at_least_1(text):
    if not re.match(r'0*[1-9][0-9]{0,5}\Z', text):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of at least 1")
    return int(text)


def find_network(args, option='--network'):
    """Where the network is that the options name, as `training.network_files.locate.Located`: asked once, told once.

    No TensorFlow is imported, so that a wrong name is answered at once. Raises UserError.
    """
    if getattr(args, 'found', None) is None:
        from training.network_files import locate
        registry.allow_modules(args)
        args.found = locate.locate(args.network, args.artifacts_dir, option=option).tell()
    return args.found


def open_network(args):
    """The generator that the options name, and facts about it for records.

    Returns:
        (Network Gs, EasyDict(network, taken, path, file, sha256, name, resolution, engine, device)).
    """
    found = find_network(args)
    from dnnlib import tflib
    from training.network_files import locate
    tflib.init_tf(tflib.FOR_PICTURES)
    tflib.select_device(args.device)
    network = locate.load_generator(found, args.trust_stored_code)
    from figures.generator import check_makes_images
    check_makes_images(network, found.path)
    facts = EasyDict(network=without_passwords(args.network), taken=found.taken or 'as named',
                     path=os.path.abspath(found.path), file=os.path.basename(found.path), sha256=found.sha256,
                     name=network.name, resolution=network.output_shape[2],
                     engine=f'{tflib.ENGINE} (TensorFlow {tflib.tf.__version__})', device=tflib.device_kind())
    return network, facts


def open_generator(args):
    """Like `open_network`, giving a `Generator`."""
    network, facts = open_network(args)
    from figures.generator import Generator
    return Generator(network, minibatch=args.minibatch), facts


def add_label_argument(group):
    """Adds the option that `choose_labels` reads."""
    group.add_argument('--labels', '--class', dest='labels', metavar='LABELS', help='labels of the images, for '
                       f'networks that take some: {labels.FORMS} (default: data, drawn as often as the training data '
                       'have them, if these are known, else zeros)')


def choose_labels(gen, facts, args):
    """Lets a `Generator` make images with the labels that are asked for, and enters these into the facts."""
    gen.fake_labels = labels.choose(args.labels, gen.label_size, facts.path)
    if gen.label_size:
        facts.update(gen.fake_labels.facts())


def parse_seeds(text, option='--seeds'):
    """'0-3,7' → [0, 1, 2, 3, 7]. Raises UserError."""
    seeds = []
    for part in text.split(','):
        match = re.match(r'\s*(\d{1,10})\s*(?:-\s*(\d{1,10})\s*)?\Z', part)
        if not match:
            raise UserError(f"{option} is '{text}'; write numbers and ranges such as 0-99 or 1,5,7-9")
        first, last = int(match.group(1)), int(match.group(2) or match.group(1))
        if last < first or last >= 2 ** 32 or len(seeds) + last - first >= 10 ** 7:
            raise UserError(f"{option}: '{part.strip()}' is not a range of seeds from 0 to {2 ** 32 - 1}, smaller "
                            'first')
        seeds += range(first, last + 1)
    return seeds


def check_psi(psi):
    """Raises UserError unless psi is a finite number."""
    if not np.isfinite(psi) or abs(psi) > 100:
        raise UserError(f'--psi is {psi}; use a number such as 0.7 (closer to the mean) or 1 (as trained)')
