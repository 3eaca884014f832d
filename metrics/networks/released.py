"""Opens the released feature networks without executing anything that their files hold.

The names of build functions and variables inside these files are not published, so weights are mapped onto our own
networks (`metrics.networks.mapping`), and records say "not verified" until somebody has compared a genuine file.
"""

import os

import numpy as np

from dnnlib import array_files, artifacts, tflib
from dnnlib.tflib import safe_pickle
from dnnlib.util import UserError, sha256_file
from metrics.networks import files, frozen_graph, mapping, weights


def inception(path=None):
    """Inception features from the released pickle, or from the frozen graph (`.pb`, `.tgz`), whichever there is.

    Raises UserError for other files.
    """
    path = path or _first_found(files.INCEPTION, files.INCEPTION_FROZEN)
    net = tflib.Network.without_values('inception_v3_features', 'metrics.networks.inception_v3.inception_v3_features')
    if path.endswith(('.pb', '.tgz', '.tar.gz')):
        found = frozen_graph.read_weights(path)
    else:
        found = read_variables(path)[1]

    def kind_of(name):
        return mapping.classify_by_name(name, None) or 'weight'

    _assign(net, found, kind_of, path)
    if any(np.any(value <= 0) for name, value in _values(net).items() if name.endswith('moving_variance')):
        raise UserError(f'{path}: after mapping the weights by their shapes, some variances are not positive, so the '
                        f'order of the file is another one than expected. It holds, in order:\n'
                        f'{mapping.describe(found)}')
    return weights.FeatureNetwork(net, _record(path, files.INCEPTION))


def perceptual(path=None):
    """The LPIPS distance."""
    path = path or artifacts.get(files.PERCEPTUAL)
    net = tflib.Network.without_values('vgg16_lpips', 'metrics.networks.vgg16_lpips.vgg16_lpips')
    found = [(name, _as_hwio(array)) for name, array in read_variables(path)[1]]

    def kind_of(name):
        return 'linear' if name.startswith('lin') else 'bias' if name.endswith('bias') else 'kernel'

    def classify(_name, array):
        if len(mapping.essential_shape(array.shape)) > 1:
            return 'kernel'
        # LPIPS weights are non-negative by construction, VGG16's biases are not.
        return 'linear' if np.all(array >= 0) else 'bias'

    _assign(net, found, kind_of, path, classify)
    return weights.FeatureNetwork(net, _record(path, files.PERCEPTUAL))


def classifier(index, settings=None, path=None):
    """The released attribute classifier number `index`, or the one in the file at `path`; see `open_classifier`."""
    name = files.classifier_file(index)
    path = path or artifacts.get(name)
    net, how = open_classifier(path, f'classifier_{index:02d}', settings)
    return weights.FeatureNetwork(net, dict(_record(path, name), built_as=how))


def own_classifier(path, attribute, number, settings=None):
    """An attribute classifier in a file of the user's."""
    net, how = open_classifier(path, f'classifier_{number:02d}', settings)
    record = dict(name=f'classifier of {attribute}', is_standin=False, file=os.path.basename(path),
                  file_sha256=sha256_file(path), verified=False, note="from a folder of the user's")
    return weights.FeatureNetwork(net, dict(record, folder=os.path.dirname(os.path.abspath(path)), built_as=how))


def open_classifier(path, net_name, settings=None):
    """(network, how it was built in words) of a classifier's file, as its function name and keywords say where we know
    them. Raises UserError."""
    settings = settings or {}
    state, found = read_variables(path)
    known = {'D_basic': 'training.networks_stylegan.D_basic', 'D_paper': 'training.networks_progan.D_paper'}
    kwargs = dict(num_channels=3, resolution=files.CLASSIFIER_RESOLUTION, fmap_base=8192)
    if state is not None and state.build_func_name in known:
        func_name, kwargs = known[state.build_func_name], dict(kwargs, **state.static_kwargs)
        how = f'function {state.build_func_name} of the file'
    else:
        func_name = known['D_basic']
        kwargs['blur_filter'] = [1, 2, 1] if settings.get('classifier_blur', True) else None
        how = f"D_basic {'with' if kwargs['blur_filter'] else 'without'} blur (setting classifier_blur)"
    kwargs.update(label_size=0, mbstd_group_size=0)
    net = weights.build(net_name, func_name, kwargs, path)
    shape = net.input_shapes[0]
    if shape[1] not in (1, 3) or shape[2] != shape[3] or not 4 <= shape[-1] <= 1024 or net.output_shape[1:] != [1]:
        raise UserError(f'{path}: a network from {shape[1:]} to {net.output_shape[1:]}, where a classifier of square '
                        'images, RGB or grey, is expected')

    def kind_of(variable):
        return variable.rsplit('/', 1)[-1]

    def classify(variable, array):
        if len(mapping.essential_shape(array.shape)) > 1:
            return 'weight'
        # The last layer's weights [C, 1] count as a vector, like biases; names tell them apart.
        return 'weight' if array.ndim > 1 or 'weight' in variable.lower() else 'bias'

    _assign(net, found, kind_of, path, classify)
    return net, how


def read_variables(path):
    """(state or None, [(name, array), ...]) of a file of one network, components included.

    The state is None where the file is a plain archive of arrays (`.npz`). Raises UserError for more than one.
    """
    if path.endswith('.npz'):
        return None, _real(array_files.read_npz(path).items(), path)
    states = safe_pickle.read_networks(path)
    if isinstance(states, tuple):
        raise UserError(f'{path}: holds {len(states)} networks where a single feature network is expected')
    found = []

    def collect(state, prefix):
        found.extend((prefix + name, np.asarray(array)) for name, array in state.variables)
        for key, component in state.components.items():
            collect(component, f'{prefix}{key}/')
    collect(states, '')
    return states, _real(found, path)


def _real(found, path):
    """[(name, array), ...] as given. Raises UserError unless all are real numbers."""
    for name, array in found:
        if array.dtype.kind not in 'fiu':
            raise UserError(f'{path}: the array {name[:200]} is of type {array.dtype}; weights are real numbers')
    return list(found)


def _first_found(*names):
    """Path of the first file that is on this machine; else the first one that can be downloaded. Raises UserError."""
    for name in names:
        path = artifacts.find(name)
        if path is not None:
            return path
    errors = []
    for name in names:
        try:
            return artifacts.get(name)
        except UserError as err:
            errors.append(str(err))
    raise UserError('\nor instead:\n'.join(errors))


def _values(net):
    return dict(zip(net.vars, tflib.get_vars(list(net.vars.values()))))


def _assign(net, found, kind_of, path, classify=None):
    wanted = weights.wanted_shapes(net)
    wanted_vectors = {name: shape for name, shape in wanted.items() if int(np.prod(shape)) > 1 or shape}
    values = mapping.map_by_name(found, wanted_vectors)
    if values is None:
        shapes = type(wanted)((name, shape) for name, shape in wanted.items() if int(np.prod(shape)) > 1)
        values = mapping.map_by_shape(found, shapes, kind_of, path, classify)
        _set_single_numbers(found, wanted, values, path)
    weights.assign(net, values, path)


def _set_single_numbers(found, wanted, values, path):
    """Vectors of one element (the last bias of a classifier), in order; levels of detail stay as they are."""
    names = [name for name, shape in wanted.items() if int(np.prod(shape)) == 1 and shape]
    arrays = [array for _, array in found if np.size(array) == 1 and np.ndim(array) > 0]
    if len(names) != len(arrays):
        raise UserError(f'{path}: {len(names)} arrays of one element are needed, the file has {len(arrays)}. It holds, '
                        f'in order:\n{mapping.describe(found)}')
    for name, array in zip(names, arrays):
        values[name] = np.asarray(array).reshape(wanted[name])


def _as_hwio(array):
    """Kernels [out, in, 3, 3], as other frameworks keep them, turned into [3, 3, in, out]."""
    if array.ndim == 4 and array.shape[2:] == (3, 3) and array.shape[:2] != (3, 3):
        return array.transpose(2, 3, 1, 0)
    return array


def _record(path, name):
    """What result records say about a released file that stands for the one called `name`."""
    artifact = artifacts.lookup(os.path.basename(path)) or artifacts.lookup(name)
    return dict(name=artifact.purpose, is_standin=False, file=os.path.basename(path), file_sha256=sha256_file(path),
                source=(artifact.urls or ['unknown'])[0], licence=artifact.licence, verified=False,
                note='weights mapped by name or order of shapes; not verified against the original network')
