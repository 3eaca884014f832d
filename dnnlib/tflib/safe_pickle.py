"""Loads network pickles without executing anything that they contain.

A file is first read into plain `NetworkState` records (no TensorFlow involved), which become `Network` objects when
they are first used, so a snapshot's G and D cost nothing to somebody who only wants Gs.
"""

import re
import sys
import weakref

import numpy as np

from dnnlib import pickle_globals
from dnnlib.pickle_reader import Limits, PickleRefused, Reader, load_arrays, open_bounded
from dnnlib.tflib import registry
from dnnlib.util import UserError
from dnnlib.values import value_types

__all__ = ['NetworkState', 'PickleRefused', 'build_networks', 'load_arrays', 'load_network_pickle', 'read_content',
           'read_networks']

NETWORK_CLASSES = ('dnnlib.tflib.network.Network', 'tfutil.Network')
VERSIONS = (2, 3)
SNAPSHOT = ('G', 'D', 'Gs')
FIELDS = ('version', 'name', 'static_kwargs', 'components', 'build_module_src', 'build_func_name', 'variables')
OWN_FIELDS = ('project_version', 'build_module')    # of a state; other readers take the published ones alone

_LIMITS = Limits(opcodes=400000, depth=16)
_MAX_COMPONENTS = 64
_TORCH_MAGIC = 0x1950a86a20f9469cfc6c  # the number that heads files of torch.save before its zip format


class NetworkState:
    """What a file says about one network, checked for form but not for fitting its build function.

    version: 2 or 3; name: str; static_kwargs: dict; components: dict of attribute name → NetworkState;
    build_module_src: str, never executed here; build_func_name: str; variables: list of (local name, array).
    project_version: str, the version of this project that stored it, and build_module: str, the module of a build
    function that was none of its own; None for files of others and of versions before 1.0.0. wait: function that waits
    until a list of the arrays has come from the file, None if all are there.
    """

    def __init__(self, version, name, static_kwargs, components, build_module_src, build_func_name, variables,
                 project_version=None, build_module=None, wait=None):
        self.version = version
        self.name = name
        self.static_kwargs = static_kwargs
        self.components = components
        self.build_module_src = build_module_src
        self.build_func_name = build_func_name
        self.project_version = project_version
        self.build_module = build_module
        self._variables, self._wait = variables, wait

    @property
    def variables(self):
        """List of (local name, array); waits for arrays that are on their way from the file."""
        if self._wait is not None:
            self._wait([array for _, array in self._variables])
            self._wait = None
        return self._variables

    @variables.setter
    def variables(self, variables):
        self._variables, self._wait = variables, None

    def fields(self):
        """The published state dict, with components as records."""
        fields = {key: getattr(self, key) for key in FIELDS + OWN_FIELDS}
        return {key: value for key, value in fields.items() if key not in OWN_FIELDS or value is not None}

    def to_dict(self):
        """The published state dict, with components as such dicts in turn."""
        return dict(self.fields(), components={key: component.to_dict() for key, component in self.components.items()})

    def walk(self):
        """This record and those of its components, parents first."""
        yield self
        for component in self.components.values():
            for state in component.walk():
                yield state

    def local_names(self):
        """The names of all variables, as `Network.vars` has them: the components' behind '<component's name>/'."""
        for name, _ in self._variables:
            yield name
        for component in self.components.values():
            for name in component.local_names():
                yield f'{component.name}/{name}'

    def __repr__(self):
        count = sum(array.size for state in self.walk() for _, array in state._variables)
        return f'NetworkState({self.name!r}, {self.build_func_name}, {count} numbers)'


def read_networks(path_or_file):
    """Reads a network pickle as data.

    Args:
        path_or_file: file name, or binary file object.

    Returns:
        A NetworkState if the file holds one network, else a tuple of them.

    Raises:
        PickleRefused: with a sentence that says what the file is instead, or what in it is not allowed.
    """
    content, name, wait = _read(path_or_file, limits=_LIMITS)
    if isinstance(content, pickle_globals.Instance):
        return checked_state(content, name, [0], wait)
    if isinstance(content, (tuple, list)) and content \
            and all(isinstance(item, pickle_globals.Instance) for item in content):
        count = [0]
        return tuple(checked_state(item, name, count, wait) for item in content)
    wait()
    raise PickleRefused('not-a-network', f'{name}: a pickle, but of {_describe(content)}; expected the networks '
                                         '(G, D, Gs) of a snapshot')


def read_content(path_or_file):
    """Reads a pickle of plain data in which networks may stand, such as a dict of both, as data.

    Returns what was stored, with a NetworkState for every network. Raises PickleRefused like `read_networks`.
    """
    content, name, wait = _read(path_or_file, of_any_age=True)
    wait()
    states, count = {}, [0]

    def state_of(found):
        if id(found) not in states:
            states[id(found)] = checked_state(found, name, count)
        return states[id(found)]
    return _replaced(content, pickle_globals.Instance, state_of)


def _read(path_or_file, of_any_age=False, **options):
    """(what a pickle holds, networks as `Instance` records; name for sentences; function that waits for its arrays).

    of_any_age: also what the protocols 0 and 1 wrote, as Python 2 did; networks never were stored so.
    """
    file, name, owned = open_bounded(path_or_file)
    try:
        _refuse_other_files(file, name, of_any_age)
        content, wait = Reader(file, name, table=_globals(), **options).begin()
    except PickleRefused as err:
        if err.reason == 'foreign-name' and re.search(r' for torch', str(err)) or err.reason == 'foreign-object':
            raise _pytorch(name) from None
        raise
    finally:
        if owned:
            file.close()
    if isinstance(content, int) and content == _TORCH_MAGIC:
        raise _pytorch(name)
    return content, name, wait


def _replaced(content, kind, replace):
    """Plain containers in which every object of a class is replaced; they themselves where they hold none."""
    if isinstance(content, kind):
        return replace(content)
    if isinstance(content, dict):
        values = {key: _replaced(value, kind, replace) for key, value in content.items()}
        if any(values[key] is not value for key, value in content.items()):
            content = type(content)((key, values[key]) for key in content)
    elif isinstance(content, (list, tuple)):
        values = [_replaced(value, kind, replace) for value in content]
        if any(new is not old for new, old in zip(values, content)):
            content = type(content)(values)
    return content


def load_network_pickle(path_or_file, trust_stored_code=False, which=None, expect='snapshot'):
    """Loads networks; each builds its graph in the then current default graph when it is first used.

    Args:
        path_or_file: file name, or binary file object.
        trust_stored_code: for build functions that we do not have, execute the module source that the file carries,
            with all rights of this process. Only for files from people whose programs you would run as well.
        which: 'G', 'D' or 'Gs' to get that network alone, of a snapshot.
        expect: 'snapshot' for (G, D, Gs), 'network' for a file of a single network, 'any' for either.

    Returns:
        (G, D, Gs), or one Network.

    Raises:
        PickleRefused (a UserError): see `read_networks`; also for build functions that we do not have, unless
            `trust_stored_code`. Variables that do not fit their build function are found when a network is built,
            with a UserError.
    """
    name = str(getattr(path_or_file, 'name', 'the given file')) if hasattr(path_or_file, 'read') else str(path_or_file)
    return build_networks(read_networks(path_or_file), name, trust_stored_code, which, expect)


def build_networks(content, name, trust_stored_code=False, which=None, expect='snapshot'):
    """The second half of `load_network_pickle`: from what `read_networks` returns, read from the file `name`."""
    assert which is None or which in SNAPSHOT
    assert expect in ('snapshot', 'network', 'any')
    single = isinstance(content, NetworkState)
    if single and (expect == 'snapshot' or which is not None):
        raise PickleRefused('single-network', f"{name}: holds the single network '{content.name}' "
                            f'({content.build_func_name}), but the three networks (G, D, Gs) of a snapshot are needed')
    if not single and expect == 'network':
        raise PickleRefused('not-single', f'{name}: holds {len(content)} networks, but a file of one network is needed')
    if not single and len(content) != 3:
        raise PickleRefused('not-a-snapshot', f'{name}: holds {len(content)} networks; a snapshot is (G, D, Gs)')
    states = [content] if single else [content[SNAPSHOT.index(which)]] if which else list(content)
    networks = _lazy_networks(states, [content] if single else content, name, trust_stored_code)
    return networks[0] if single or which else networks


def build_content(content, name, trust_stored_code=False):
    """What `read_content` returned, with a Network for every NetworkState; see `load_network_pickle`."""
    states = []
    _replaced(content, NetworkState, lambda state: states.append(state) if state not in states else None)
    networks = dict(zip(map(id, states), _lazy_networks(states, states, name, trust_stored_code)))
    return _replaced(content, NetworkState, lambda state: networks[id(state)])


def _lazy_networks(states, all_states, name, trust_stored_code):
    """A tuple of networks, in the scopes that they have where all of a file's networks are built."""
    for state in (inner for outer in states for inner in outer.walk()):
        _check_build_func(state, name, trust_stored_code)
    scopes = _Scopes(all_states)
    return tuple(_lazy_network(state, name, trust_stored_code, scopes) for state in states)


# What the file is

def _globals():
    table = dict(pickle_globals.PLAIN)
    for full_name in NETWORK_CLASSES:
        module, _, cls = full_name.rpartition('.')
        table[module, cls] = pickle_globals.instance_class(module, cls)
    return table


def _refuse_other_files(file, name, of_any_age=False):
    """Raises PickleRefused for the files that people most often have in place of a network."""
    start = file.tell()
    head = file.read(4096)
    file.seek(start)
    text = head.lstrip(b'\xef\xbb\xbf \t\r\n').lower()
    if not head:
        raise PickleRefused('empty', f'{name}: the file is empty; get it again')
    if text.startswith(b'<'):
        drive = b'google drive' in text or b'drive.google' in text
        hint = ("Google Drive's page about a quota or a virus scan; open the link in a browser, or wait a day"
                if drive else 'a web page; the address that it came from does not lead to the file itself')
        raise PickleRefused('html', f'{name}: not a network but HTML: {hint}')
    if text.startswith(b'version https://git-lfs'):
        size = re.search(br'size (\d{1,15})', text)
        size = f' of {int(size.group(1))} bytes' if size else ''
        raise PickleRefused('lfs', f'{name}: not the file itself but a git-LFS pointer to it{size}; fetch it with '
                                   '`git lfs pull` in the repository that it came from')
    if head.startswith(b'PK'):
        if b'data.pkl' in head or b'archive/' in head:
            raise _pytorch(name)
        raise PickleRefused('archive', f'{name}: a zip archive and not a pickle; unpack it, or, if it is an .npz '
                                       'export, convert it with `./reproduce convert`')
    if head.startswith(b'\x1f\x8b'):
        raise PickleRefused('archive', f'{name}: compressed with gzip; unpack it first')
    if not head.startswith(b'\x80') and not of_any_age:
        raise PickleRefused('not-a-pickle', f'{name}: not a network pickle (it starts with {head[:8]!r})')


def _pytorch(name):
    return PickleRefused('pytorch', f'{name}: a PyTorch file (such as those of StyleGAN2-ADA-PyTorch and later); this '
                                    'project reads the TensorFlow networks of 2018 and 2019 only')


def _describe(content):
    if isinstance(content, (tuple, list)):
        kinds = sorted({type(item).__name__ for item in content}) or ['nothing']
        return f'a {type(content).__name__} of {len(content)} items ({", ".join(kinds[:4])})'
    return f'a {type(content).__name__}'


# From state dicts to records

def checked_state(state, name, count, wait=None):
    """The NetworkState of a published state dict from the file `name`. Raises PickleRefused if its form is wrong.

    Components are such dicts in turn, or the `Instance` records of the pickle reader. `count` is a list that holds the
    number of networks met in this file so far. `wait`: see `NetworkState`.
    """
    count[0] += 1
    if count[0] > _MAX_COMPONENTS:
        raise PickleRefused('malformed', f'{name}: refused: more than {_MAX_COMPONENTS} networks inside networks')
    if isinstance(state, pickle_globals.Instance):
        state = state.state
    if not isinstance(state, dict):
        raise PickleRefused('malformed', f'{name}: a network without content; get the file again')

    def field(key, kinds, default=None):
        value = state.get(key, default)
        if not isinstance(value, kinds) or isinstance(value, bool):
            raise PickleRefused('malformed', f"{name}: a network's '{key}' is {_describe(value)}; the file is damaged "
                                             'or was not written by a StyleGAN-era dnnlib')
        return value

    func_name = field('build_func_name', str)
    source = field('build_module_src', str, '')
    version = field('version', int)
    stranger = registry.stranger(func_name, version, source[:1000000])
    if stranger:
        raise PickleRefused(stranger.reason, f'{name}: {stranger.what} ({func_name[:60]}), which this project does not '
                                             f"have; it reads {', '.join(registry.known_build_funcs())}")
    if version not in VERSIONS:
        raise PickleRefused('version', f'{name}: a network of format version {version}; versions '
                                       f'{VERSIONS[0]} and {VERSIONS[1]} can be read')
    components = field('components', dict, {})
    if not all(isinstance(key, str) and _ATTRIBUTE.match(key) and isinstance(item, (pickle_globals.Instance, dict))
               for key, item in components.items()) or not _ATTRIBUTE.match(func_name):
        raise PickleRefused('malformed', f'{name}: a network with a malformed build function or component')
    static_kwargs = field('static_kwargs', dict)
    if not all(isinstance(key, str) for key in static_kwargs):
        raise PickleRefused('malformed', f'{name}: a network whose keyword arguments have no names')
    if wait is not None and _holds_array(static_kwargs):
        wait()  # only variables say when they are there
    if not re.match(r'[A-Za-z0-9.][A-Za-z0-9_.\\/-]{0,99}\Z', field('name', str)):
        raise PickleRefused('malformed', f'{name}: a network with a malformed name')
    result = NetworkState(
        version=version, name=state['name'], static_kwargs=dict(static_kwargs),
        components={key: checked_state(item, name, count, wait) for key, item in components.items()},
        build_module_src=source, build_func_name=func_name,
        variables=_variables(field('variables', (list, tuple)), name), wait=wait,
        **{key: field(key, (str, type(None))) for key in OWN_FIELDS})
    local_names = list(result.local_names())
    if len(set(local_names)) != len(local_names):
        raise PickleRefused('malformed', f'{name}: a network with two variables of one name, its components counted')
    return result


def _holds_array(value):
    if isinstance(value, dict):
        value = list(value.values())
    return isinstance(value, np.ndarray) or isinstance(value, (list, tuple)) and any(map(_holds_array, value))


_ATTRIBUTE = re.compile(r'[A-Za-z_][A-Za-z0-9_]{0,99}\Z')


def _variables(items, name):
    variables = []
    for item in items:
        ok = isinstance(item, (tuple, list)) and len(item) == 2 and isinstance(item[0], str) \
            and re.match(r'[A-Za-z0-9_.][A-Za-z0-9_./\\-]{0,199}\Z', item[0]) and _is_numbers(item[1])
        if not ok:
            raise PickleRefused('malformed', f'{name}: a network with a malformed variable')
        variables.append((item[0], np.asarray(item[1])))
    return variables


def _is_numbers(value):
    """Whether a value is what a variable may have: real numbers of a common size, or truth values."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.dtype.kind in 'fiub' and value.dtype.itemsize <= 8
    return type(value) is float or type(value) in (int, bool) and abs(value) < 1 << 63


# From records to networks

def check_sizes(state, name):
    """Refuses arguments from which graphs of absurd size follow, before any variable's shape can be compared with the
    file's content, and those without any channels, at which TensorFlow ends the process (SIGFPE)."""
    def refuse(key, value, what):
        raise PickleRefused('malformed', f"{name}: refused: network '{state.name}' asks for {key}={value}; {what}")

    types = registry.argument_types(state.build_func_name, state.build_module)
    for key, value in state.static_kwargs.items():
        for kind in types[key].alternatives if types.get(key) else ():
            if isinstance(kind, value_types.Number):
                if isinstance(value, np.ndarray):  # one of a single number counts as that number in shapes
                    refuse(key, 'an array', f'it must be {types[key]}')
                if _is_number(value) and not kind.low <= value <= kind.high:
                    refuse(key, value, f'it must be {types[key]}')
            if isinstance(kind, value_types.List) and value is not None and not _is_short_list(value, kind.most):
                refuse(key, _describe(value), f'it must be {types[key]}')


def _is_number(value):
    return isinstance(value, (int, float, np.integer, np.floating, np.bool_))


def _is_short_list(value, most):
    """Whether a value is a list of at most so many numbers, looking at no more of it than that."""
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.size <= most and value.dtype.kind in 'fiu'
    return isinstance(value, (list, tuple)) and len(value) <= most and all(
        _is_number(item) for item in value)


def _check_build_func(state, name, trust_stored_code):
    from dnnlib.tflib import network
    if registry.find_module(state.build_func_name, state.build_module) is None:
        if network.has_import_handlers():
            return  # one of them may change the name; when the network is built, the same is asked again
        if not trust_stored_code:
            raise PickleRefused('unknown-build-func', f"{name}: network '{state.name}' is built by "
                                f'{registry.not_found(state.build_func_name, state.build_module)}')
        print(f"Network '{state.name}' will execute the code stored in {name}, as asked.", file=sys.stderr)
        return
    check_sizes(state, name)


class _Scopes:
    """The scopes of a file's networks in a graph: those of the original, which builds all of them, components first.

    So the synthesis network of Gs is `G_synthesis_1` in whatever order the networks are first used.
    """

    def __init__(self, states):
        self._order = [inner for state in states for inner in _components_first(state)]
        self._taken = weakref.WeakKeyDictionary()  # graph -> {id of a state: scope}

    def of(self, state):
        """Scopes of the state's components and its own, in this order, in the default graph."""
        from dnnlib.tflib.engine import tf
        from dnnlib.tflib.network import take_scope
        graph = tf.get_default_graph()
        if graph not in self._taken:
            self._taken[graph] = {id(inner): take_scope(inner.name) for inner in self._order}
        return [self._taken[graph][id(inner)] for inner in _components_first(state)]


def _components_first(state):
    return [inner for component in state.components.values() for inner in _components_first(component)] + [state]


def _lazy_network(state, file_name, trust_stored_code, scopes):
    """A Network that builds itself from `state` at the first use of any of its attributes."""
    from dnnlib.tflib.network import Network

    class LazyNetwork(Network):
        def __init__(self):
            self.__dict__['_pending'] = (state, file_name, trust_stored_code, scopes)

        def __getattr__(self, attribute):
            if attribute.startswith('__') or '_pending' not in self.__dict__:
                raise AttributeError(attribute)
            _materialize(self)
            return getattr(self, attribute)

        def __reduce_ex__(self, protocol):
            _materialize(self)
            return self.__reduce_ex__(protocol)

        def __repr__(self):
            return f'<{state.name} of {file_name}, not built yet>'

    return LazyNetwork()


def _materialize(network):
    """Turns a LazyNetwork into the plain Network that it stands for."""
    from dnnlib.tflib import network_state
    from dnnlib.tflib.network import Network
    lazy_class = network.__class__
    state, file_name, trust_stored_code, scopes = pending = network.__dict__.pop('_pending')
    network.__class__ = Network
    try:
        with network_state.building(state.name, state.build_func_name):
            network._load_state(state.to_dict(), trust_stored_code, iter(scopes.of(state)))
    except UserError as err:
        network.__dict__.clear()
        network.__dict__['_pending'] = pending
        network.__class__ = lazy_class
        raise UserError(f'{file_name}: {err}') from err
