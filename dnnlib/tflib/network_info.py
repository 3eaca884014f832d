"""Listings of a network's template graph: operations, layers, a table for people."""

import numpy as np

from dnnlib.tflib import tfutil
from dnnlib.tflib.engine import tf


def list_ops(net):
    """Operations of the template graphs of `net` and its components, in construction order."""
    _ = net.output_templates  # builds what is missing of the graph
    prefixes = tuple(scope + '/' for scope in _scopes(net))
    hidden = tuple(f'{prefix}{part}' for prefix in prefixes for part in ('_Run', '_MovingAvg'))
    return [op for op in tf.get_default_graph().get_operations()
            if op.name.startswith(prefixes) and not op.name.startswith(hidden)]


def _scopes(net):
    return [net.scope] + [scope for component in net.components.values() for scope in _scopes(component)]


def list_layers(net):
    """Layers of the template graph in execution order.

    A layer is the scope of a trainable variable; style and noise parameters belong to the layer they sit in.

    Returns:
        List of (name, output tensor, list of trainable variables).
    """
    layers = [(name, tensor, []) for name, tensor in zip(net.input_names, net.input_templates)]
    layers += _variable_layers(net, prefix='')
    layers += [(name, tensor, []) for name, tensor in zip(net.output_names, net.output_templates)]
    return layers


def _variable_layers(net, prefix):
    layers = []
    for component in net.components.values():
        layers += _variable_layers(component, f'{prefix}{component.name}/')
    groups = {}
    for name, var in net.own_vars.items():
        if var.trainable:
            groups.setdefault(_layer_of(name), []).append(var)
    outputs = {}  # layer -> (place in the graph, the last activation that it computes)
    for place, op in enumerate(tf.get_default_graph().get_operations()):
        if op.name.startswith(net.scope + '/') and op.outputs and _is_activation(op.outputs[0]):
            parts = op.name[len(net.scope) + 1:].split('/')[:-1]
            for depth in range(1, len(parts) + 1):
                group = '/'.join(parts[:depth])
                if group in groups:
                    outputs[group] = (place, op.outputs[0])
    for group in sorted(groups, key=lambda group: outputs.get(group, (-1,))[0]):
        layers.append((prefix + group, outputs.get(group, (-1, groups[group][0]))[1], groups[group]))
    return layers


def _layer_of(var_name):
    """'4x4/Conv' for '4x4/Conv/StyleMod/weight': parts of a layer's epilogue belong to the layer."""
    parts = var_name.split('/')[:-1]
    while len(parts) > 1 and parts[-1] in ('StyleMod', 'Noise'):
        parts.pop()
    return '/'.join(parts) if parts else var_name


def _is_activation(tensor):
    """Whether the tensor carries a minibatch (first dimension unknown), as opposed to weights and shapes."""
    shape = tfutil.shape_to_list(tensor.shape)
    return tensor.dtype.is_floating and shape is not None and len(shape) >= 2 and shape[0] is None


def print_layers(net, title=None, hide_layers_with_no_params=False):
    """Prints one line per layer with parameter count, output shape and weight shape, and a total."""
    rows = [[title or net.name, 'Params', 'OutputShape', 'WeightShape'], ['---'] * 4]
    total = 0
    for name, output, variables in list_layers(net):
        count = sum(int(np.prod(tfutil.shape_to_list(var.shape))) for var in variables)
        total += count
        if count == 0 and hide_layers_with_no_params:
            continue
        weights = [var for var in variables if var.name.endswith(('/weight:0', '/const:0'))]
        direct = [var for var in weights if not var.name.endswith(('StyleMod/weight:0', 'Noise/weight:0'))]
        shown = (direct or weights or [None])[0]
        rows.append([name, str(count) if count else '-', _shape_text(output),
                     '-' if shown is None else _shape_text(shown)])
    rows += [['---'] * 4, ['Total', str(total), '', '']]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for row in rows:
        print('  '.join((('-' * width) if cell == '---' else cell).ljust(width)
                        for cell, width in zip(row, widths)).rstrip())
    print()


def _shape_text(tensor):
    shape = tfutil.shape_to_list(tensor.shape)
    return '(' + ', '.join('?' if d is None else str(d) for d in shape) + ')'
