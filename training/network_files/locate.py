"""One door to networks: what a user's words mean, and what the file holds."""

import os

from dnnlib import artifacts
from dnnlib.files import sha256_file
from dnnlib.tflib import convert
from dnnlib.util import UserError, is_url
from training.network_files import best, runs

FORMS = 'a file, a run directory or its number, RUN:best, RUN:final or RUN:KIMG, a released network, or an address'


class Located:
    """A network that was found.

    Attributes:
        asked: what the user said.
        path: the file.
        kind: 'file', 'snapshot' (of a run), 'released' or 'address'.
        taken: in words, which of a run's snapshots it is and why; None where the user named it outright.
    """

    def __init__(self, asked, path, kind, taken=None):
        self.asked = asked
        self.path = path
        self.kind = kind
        self.taken = taken
        self._sha256 = None

    @property
    def run_dir(self):
        """The directory of the run that the file lies in; None for others."""
        return runs.run_dir_of(self.path)

    @property
    def name(self):
        """The file's name without its suffix."""
        return os.path.splitext(os.path.basename(self.path))[0]

    @property
    def sha256(self):
        """SHA-256 of the file's content."""
        if self._sha256 is None:
            self._sha256 = sha256_file(self.path)
        return self._sha256

    def tell(self):
        """Prints what was taken, unless the user named the file. Returns itself."""
        if self.taken is not None:
            print(f'Of {os.path.dirname(self.path)} this takes {self.taken}: {os.path.basename(self.path)}', flush=True)
        return self


def locate(text, artifacts_dir=None, result_dir=None, option='the network'):
    """Finds the network that a user names, downloading it if need be. Returns a `Located`. Raises UserError.

    Args:
        text: one of `FORMS`; a path may be any os.PathLike, a run's number an int.
        artifacts_dir: folder of released files that are here already.
        result_dir: folder of the run directories; None: `config.result_dir`.
        option: what sentences call the text.
    """
    if isinstance(text, Located):
        return text
    text = os.fspath(text) if not isinstance(text, int) else str(text)
    if os.path.isfile(text):
        return Located(text, text, 'file')
    if not os.path.isdir(text):
        path = artifacts.resolve(text, artifacts_dir)
        if path is not None:
            return Located(text, path, 'address' if is_url(text) else 'released')
    run, colon, which = text.rpartition(':')
    try:
        if colon and not os.path.isdir(text):
            run_dir = runs.locate_run_dir(run, result_dir)
        else:
            run_dir, which = runs.locate_run_dir(text, result_dir), None
    except UserError as err:
        if os.path.isdir(text) or text.isdecimal() or colon and os.path.isdir(run):
            raise
        if os.path.basename(text) != text:
            raise UserError(f"{option}: there is no file '{text}'; expected is {FORMS}") from err
        raise UserError(f"{option} is '{text}', which is neither a file here, nor an address, nor the name of a "
                        f'released network (`./reproduce artifacts list`), nor a run; {err}') from err
    path, taken = best.choose(run_dir, which)
    return Located(text, path, 'snapshot', taken)


def locate_snapshots(run):
    """`Located` of every snapshot of a run, in order of training. Raises UserError."""
    return [Located(path, path, 'file') for path in runs.snapshots_of(run)]


def is_here(text, artifacts_dir=None):
    """Whether what a user names is on this machine, so that `locate` needs no download.

    Raises UserError for a released file that is here but damaged.
    """
    if os.path.exists(text):
        return True
    if is_url(text):
        return False
    if artifacts.lookup(text) is not None:
        return artifacts.find(text, artifacts_dir) is not None
    try:
        locate(text)
    except UserError:
        return False
    return True


def read(located):
    """What the file holds as `NetworkState` records, one or a tuple, whatever its format. Raises UserError."""
    return convert.read(locate(located).path)


def read_snapshot(located):
    """(path, the three `NetworkState` records) of a snapshot. Raises UserError for a file of other networks."""
    found = locate(located)
    states = read(found)
    if not isinstance(states, tuple) or len(states) != 3:
        raise UserError(f'{found.path} does not hold the three networks (G, D, Gs) of a snapshot')
    return found.path, states


def load(located, trust_stored_code=False, which=None, expect='any'):
    """The networks of a file: pickle, `.npz` with its `.json`, or `.safetensors`.

    See `dnnlib.tflib.safe_pickle.load_network_pickle`; raises UserError.
    """
    return convert.load(locate(located).path, trust_stored_code=trust_stored_code, which=which, expect=expect)


def load_generator(located, trust_stored_code=False):
    """The Gs of a snapshot, or the network of a file that holds a single one, built in the default graph.

    Raises UserError if the file cannot be used, or if that network is no generator.
    """
    located = locate(located)
    content = load(located, trust_stored_code)
    if isinstance(content, tuple) and content[0].input_names[0] == 'images_in':
        raise UserError(f'{located.path} holds a codec, which makes codes of images and images of codes; a generator '
                        'is needed: that of a run on its codes')
    network = content[2] if isinstance(content, tuple) else content
    check_generator(network, located.path)
    return network


def check_generator(network, path):
    """Raises UserError unless a network's shapes are those of a generator: latents, and labels if any, to samples.

    A part of one has others, such as a synthesis network, which starts from styles. Stored code that was executed may
    declare anything.
    """
    inputs, output = network.input_shapes, network.output_shape
    # Equal sizes are those of a mapping network, unless it says that it makes points, which may be as many as z.
    differ = inputs[0][1:] != output[1:] or network.output_names == ['points_out']
    fits = len(inputs) <= 2 and all(_is_known(shape, 2) for shape in inputs) and inputs[0][1] > 0 \
        and (_is_known(output, 4) or _is_known(output, 2)) and 0 not in output[1:] and differ
    if not fits:
        shown = ' and '.join(str(shape) for shape in inputs[:4])
        raise UserError(f"{path}: network '{network.name}', from {shown} to {output}, does not give images of latents; "
                        'a whole generator is needed')


def _is_known(shape, rank):
    return isinstance(shape, list) and len(shape) == rank and None not in shape[1:]
