"""What keeps a run from starting, as only TensorFlow can tell: devices, and networks that do not fit stored ones."""

from dnnlib import registry, tflib
from dnnlib.submission import processes
from dnnlib.util import UserError
from experiment.checks import check_gpus
from training import towers
from training.network_files.locate import locate
from training.state import run_state
from training.state import transfer as transfer_state


def check_devices(config):
    """Raises UserError unless TensorFlow can use the devices that the configuration asks for."""
    if config.device != 'cpu':
        check_gpus(config, len(tflib.list_gpus()), 'TensorFlow can use')


def check_own_networks(config, data):
    """Raises UserError where networks of the user's own cannot be built or computed here; of ours that is known."""
    known = registry.declared('G', 'D')
    if any(section.func_name not in known for section in (config.G, config.D)):
        _variables(config, data)


def find_initial_networks(text, config, data, transfer=False):
    """The path of the snapshot that --init-from names; says which one it is.

    Raises UserError unless it holds networks (G, D, Gs) with exactly the variables that this configuration has on such
    data. With `transfer` only some need to fit, and which do not is printed.
    """
    path = locate(text, option='--init-from').tell().path
    try:
        if transfer:
            for part in transfer_state.plan(path, _variables(config, data), data.resolution):
                print('\n'.join(transfer_state.in_words(part, path)), flush=True)
        else:
            run_state.read_initial(path, _variables(config, data))
    except UserError as err:
        hint = '' if transfer else '; or copy only what fits with --transfer'
        raise UserError(f'--init-from: {err}{hint}') from err
    return path


def check_restored(restored, config, data):
    """Raises UserError unless a checkpoint's networks are those of the configuration; see `resume.find_checkpoint`."""
    run_state.check_networks(restored[2], _variables(config, data), restored[0])


def _variables(config, data):
    """The variables of the run's networks; see `run_state.shapes_of`."""
    tflib.select_device(config.device, processes.here(config.num_gpus))
    return towers.sketch_variables(data, config.G, config.D)
