"""The state of a run between two steps: what a checkpoint must hold so that the run goes on bit for bit."""

import collections

import numpy as np

from dnnlib import tflib
from dnnlib.submission import processes
from dnnlib.tflib import network_state
from dnnlib.util import EasyDict, UserError
from training.network_files import locate


def initial_progress(cur_nimg=0, elapsed=0.0):
    """What the loop itself remembers, at the start of a run. All of it goes into checkpoints as JSON."""
    return EasyDict(
        cur_nimg=cur_nimg,      # real images shown so far
        step=0,                 # runs of a training op so far; feeds the random numbers
        cur_tick=0,             # reports made so far
        tick_start_nimg=cur_nimg,   # cur_nimg at the last report
        prev_lod=-1.0,          # level of detail of the last iteration
        elapsed=float(elapsed),     # seconds of training, over all parts of the run
        rollbacks=0,            # times that the run went back to a checkpoint after numbers went wrong
        best_nimg=None)         # cur_nimg of the snapshot with the best score so far


# ---- Variables as arrays


def collect_arrays(networks, optimizers):
    """The values of all networks and optimizers.

    Keys are '<network>/<local name>' and '<optimizer>/<key of state_vars>'. Towers hold equal values, so only the
    first one's are taken. One session call per network or optimizer.
    """
    arrays = collections.OrderedDict()
    for prefix, variables in _groups(networks, optimizers):
        names = [name for name in variables if _tower_of(prefix, name, optimizers) == 0]
        for name, value in zip(names, tflib.get_vars([variables[name] for name in names])):
            arrays[f'{prefix}/{name}'] = np.asarray(value)
    return arrays


def restore_arrays(arrays, families, optimizers, source):
    """Sets all networks and optimizers, on every tower, to what `collect_arrays` gave.

    Args:
        arrays: dict from key to array.
        families: lists of a network and its copies on further towers.
        optimizers: the optimizers.
        source: name of the file, for messages.

    Raises UserError if the keys or shapes are not exactly those of this run's networks and optimizers.
    """
    networks = [family[0] for family in families]
    groups = []  # per network or optimizer: {key: its variables on all towers}
    for prefix, variables in _groups(networks, optimizers):
        group = collections.OrderedDict()
        for name, var in variables.items():
            if _tower_of(prefix, name, optimizers) > 0:
                name = name.rpartition('/')[0] + '/0'
            group.setdefault(f'{prefix}/{name}', []).append(var)
        groups.append(group)
    wanted = {key: tflib.shape_to_list(copies[0].shape) for group in groups for key, copies in group.items()}
    check_same_variables(wanted, {key: list(value.shape) for key, value in arrays.items()}, source)
    for group in groups:
        tflib.set_vars({var: arrays[key] for key, copies in group.items() for var in copies})
    for family in families:
        for copy in family[1:]:
            copy.copy_vars_from(family[0])


def check_networks(arrays, networks, source):
    """Raises UserError unless a checkpoint's networks are those of this run; the optimizers are not looked at.

    `networks`: networks, or their variables as `shapes_of` gives them.
    """
    wanted = networks if isinstance(networks, dict) else shapes_of(networks)
    prefixes = tuple(name + '/' for name in wanted)
    check_same_variables({f'{net}/{name}': shape for net, shapes in wanted.items() for name, shape in shapes.items()},
                         {key: list(value.shape) for key, value in arrays.items() if key.startswith(prefixes)}, source)


def shapes_of(networks):
    """The variables of networks: OrderedDict name -> {local name: shape}."""
    return collections.OrderedDict(
        (net.name, {name: tflib.shape_to_list(var.shape) for name, var in net.vars.items()}) for net in networks)


def check_same_variables(wanted, found, source):
    """Raises UserError unless two dicts from variable name to shape are equal. `found` is what `source` holds."""
    problems = []
    for what, names in (('missing there', [n for n in wanted if n not in found]),
                        ('unknown here', [n for n in found if n not in wanted]),
                        ('of another shape', [n for n in wanted if n in found and wanted[n] != found[n]])):
        if names:
            shown = [n if what != 'of another shape' else f'{n} {found[n]} instead of {wanted[n]}' for n in names[:4]]
            more = f' and {len(names) - 4} more' if len(names) > 4 else ''
            problems.append(f'{what}: {", ".join(shown)}{more}')
    if problems:
        raise UserError(f'{source} does not fit the networks of this configuration ({"; ".join(problems)}); '
                        'use the configuration (G, D, data set resolution and labels) that it was made with')


def _groups(networks, optimizers):
    groups = [(net.name, net.vars) for net in networks]
    return groups + [(opt.id, opt.state_vars()) for opt in optimizers]


def _tower_of(prefix, name, optimizers):
    """The tower that a key belongs to: optimizers' keys end in its number, except for what exists once."""
    last = name.rpartition('/')[2]
    return int(last) if last.isdecimal() and any(prefix == opt.id for opt in optimizers) else 0


# ---- Starting from the networks of another run


def initial_values(path, states, shapes):
    """The values that a snapshot gives to networks with these variables: [(name, {local name: array})].

    path, states: of its file, see `network_files.locate.read_snapshot`; shapes: see `shapes_of`. Nothing is left out
    silently: raises UserError unless every variable of each network is in the file, and the other way round, with the
    same shape.
    """
    stored = [(name, stored_arrays(state)) for name, state in zip(shapes, states)]
    for name, values in stored:
        check_same_variables(shapes[name], {key: list(np.shape(value)) for key, value in values.items()},
                             f'{name} in {path}')
        network_state.check_finite(values, f'{name} in {path}')
    return stored


def init_networks_from(networks, path):
    """Copies the weights of a snapshot (G, D, Gs) into this run's networks and prints what was copied.

    path: of a file of any format, or whatever else `network_files.locate` finds. See `initial_values`, which raises
    UserError for what does not fit.
    """
    path, states = locate.read_snapshot(path)
    for net, (_, values) in zip(networks, initial_values(path, states, shapes_of(networks))):
        tflib.set_vars({net.vars[name]: value for name, value in values.items()})
        count = sum(int(np.prod(np.shape(value))) for value in values.values())
        print(f'Initial {net.name}: all {len(values)} variables ({count:,} numbers) from {path}')


def stored_arrays(state, prefix=''):
    """{local name: array} of a stored network and its components."""
    arrays = {prefix + name: value for name, value in state.variables}
    for component in state.components.values():
        arrays.update(stored_arrays(component, f'{prefix}{component.name}/'))
    return arrays


# ---- Circumstances that bits depend on


def circumstances(tf_config, num_gpus):
    """What equal bits depend on besides configuration, seed and data; recorded in every checkpoint."""
    return dict(engine=tflib.ENGINE, tensorflow=tflib.tf.__version__, device=tflib.device_kind(), num_gpus=num_gpus,
                intra_op_threads=tf_config['intra_op_parallelism_threads'],
                inter_op_threads=tf_config['inter_op_parallelism_threads'])


def with_explicit_threads(tf_config, recorded=None):
    """A copy of the session's settings in which both thread counts are given.

    A count that is absent or 0 becomes that of the run so far (`recorded`: its checkpoint's state), so that a run which
    goes on elsewhere computes the same sums. At its beginning, or where other numbers of processes share the cores now,
    it becomes this process's share of the usable ones.
    """
    size, counts = processes.world().size, {}
    if recorded is not None and recorded.get('processes', size) == size:
        counts = recorded['circumstances']
    tf_config = dict(tf_config)
    for kind in ('intra', 'inter'):
        key = f'{kind}_op_parallelism_threads'
        tf_config[key] = int(tf_config.get(key) or counts.get(f'{kind}_op_threads') or processes.cores_here())
    return tf_config


def warn_of_changes(recorded, current, warn=print):
    """Says which circumstances differ from those of the run so far."""
    changes = [f'{key} {recorded.get(key)} -> {value}' for key, value in current.items() if recorded.get(key) != value]
    if changes:
        warn(f'warning: the run goes on under other circumstances ({", ".join(changes)}): its results will be as good, '
             'but not bit for bit those of an uninterrupted run')
