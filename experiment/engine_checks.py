"""What keeps a run from starting, as only TensorFlow can tell: devices, and networks that do not fit stored ones."""

from dnnlib import registry, tflib
from dnnlib.submission import processes
from dnnlib.util import UserError
from experiment.checks import check_gpus
from experiment.settings import is_adversarial
from training import towers
from training.network_files import labels, locate
from training.state import run_state
from training.state import transfer as transfer_state


def check_devices(config):
    """Raises UserError unless TensorFlow can use the devices that the configuration asks for."""
    if config.device != 'cpu':
        check_gpus(config, len(tflib.list_gpus()), 'TensorFlow can use')


def check(config, data, restored=None, init_from=None, transfer=False):
    """Both checks of a start, as far as they are for its loop. Returns and raises what `check_networks` does."""
    check_devices(config)
    return check_networks(config, data, restored, init_from, transfer) if is_adversarial(config) else init_from


def check_networks(config, data, restored=None, init_from=None, transfer=False):
    """Raises UserError where the run's networks cannot be built here, or are not those that it is to begin with.

    Args:
        data: as `facts.open_data` returns it.
        restored: checkpoint to go on from, see `resume.find_checkpoint`, or None.
        init_from: what --init-from names, or None: its networks (G, D, Gs) must have exactly the variables that this
            configuration has on such data; with `transfer` only some need to fit, and which do not is printed.

    Returns the path of the snapshot that `init_from` names, None without it, and says which one it is.
    """
    if restored is None and init_from is not None:
        init_from = locate.locate(init_from, option='--init-from').tell().path
    elif restored is None and not _has_own_networks(config):
        return None     # of this project's networks it is known
    tflib.select_device(config.device, processes.here(config.num_gpus))
    variables = towers.sketch_variables(data, config.G, config.D)
    if restored is not None:
        run_state.check_networks(restored[2], variables, restored[0])
    elif init_from is not None:
        try:
            path, states = locate.read_snapshot(init_from)
            _tell_other_labels(path, data)
            if transfer:
                for part in transfer_state.plan(path, states, variables, data.resolution):
                    print('\n'.join(transfer_state.in_words(part, path)), flush=True)
            else:
                run_state.initial_values(path, states, variables)
        except UserError as err:
            hint = '' if transfer else '; or copy only what fits with --transfer'
            raise UserError(f'--init-from: {err}{hint}') from err
    return init_from


def _tell_other_labels(path, data):
    """Warns where label components of the data do not mean what they meant when the networks in a file were trained."""
    before = labels.distribution_of(path) if data.label_size else None
    names, now = before.names if before is not None else None, data.label_names
    if not names or not now or names == now:
        return
    first = next((number for number, pair in enumerate(zip(names, now)) if pair[0] != pair[1]), None)
    what = f'{len(names)} labels, here are {len(now)}' if first is None else \
        f"label {first} as '{names[first]}', here it is '{now[first]}'"
    print(f'warning: the networks in {path} were trained with {what}; what they learnt of labels goes to others',
          flush=True)


def _has_own_networks(config):
    known = registry.declared('G', 'D')
    return any(section.func_name not in known for section in (config.G, config.D))
