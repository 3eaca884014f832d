"""Listings of a network's template graph: operations, layers, a table for people.

The layers and their names are those that the original lists, since programs look tensors up by them.
"""

from collections import OrderedDict

import numpy as np

from dnnlib.tflib import tfutil
from dnnlib.tflib.engine import tf

# Operations that make no layer: they only tell shapes, cast or rearrange.
_PLUMBING = ('Assign', 'Cast', 'Concat', 'ConcatV2', 'Shape', 'StridedSlice', 'Transpose', 'Unpack')


def list_ops(net):
    """Operations of the template graph of `net`, in which components are scopes, in construction order."""
    _ = net.output_templates  # builds what is missing of the graph
    prefix = net.scope + '/'
    return [op for op in tf.get_default_graph().get_operations()
            if op.name.startswith(prefix) and not op.name.startswith(prefix + '_')]


class _Scope:
    """A name in the template graph: the operation of this very name, and the names below it."""

    def __init__(self):
        self.op = None
        self.children = OrderedDict()
        self.ops = []           # at and below this name, without those that make up a variable
        self.variables = []     # at and below this name
        self.first_use = None   # when the first operation besides variables was made

    def is_layer(self):
        """Whether something is computed right here, or there is but one thing here and below."""
        here = [self.op] + [child.op for child in self.children.values()]
        return (len(self.ops) + len(self.variables) <= 1
                or any(op is not None and op.type not in _PLUMBING + ('Identity',) for op in here))

    def output(self):
        """The last activation that is computed here, or what comes nearest to one."""
        tensors = [op.outputs[0] for op in self.ops if op.outputs and not _is_variable(op)]
        return ([tensor for tensor in tensors if _is_activation(tensor)] or tensors or self.variables)[-1]

    def in_order(self, inputs=()):
        """[(name, child)] in execution order; variables that no scope holds follow the inputs, a component's the rest.

        The variables of a clone are made first of all, so that the order of construction says little.
        """
        def key(item):
            name, child = item
            if name in inputs:
                return 0, inputs.index(name)
            if child.first_use is None:
                return 1 if child.ops else 3, 0
            return 2, child.first_use
        return sorted(self.children.items(), key=key)


def list_layers(net):
    """Layers of the template graph in execution order.

    A layer is an input or output, a variable on its own, or a scope in which something is computed: 'G_synthesis/lod',
    'G_synthesis/4x4/Conv', 'G_synthesis/Upscale2D'. What lies in scopes below such a one belongs to it.

    Returns:
        List of (name, output, list of trainable variables). The output is a tensor of the template graph, NCHW where
        it is an activation with pixels; or a variable.
    """
    return [(name, _in_published_layout(net, name, scope.output()), _trainables(scope))
            for name, scope in _layers(net)]


def _layers(net):
    layers = []
    for name, scope in _scopes(net).in_order(net.input_names):
        _collect(name, scope, layers)
    return layers


def _scopes(net):
    """The tree of the template graph's names, which are local to the network."""
    root = _Scope()
    ops = list_ops(net)
    variables = {op.name for op in ops if _is_variable(op)}
    for place, op in enumerate(ops):
        parts = op.name.split('/')
        if not any('/'.join(parts[:count]) in variables for count in range(1, len(parts))):
            path = _path(root, op.name[len(net.scope) + 1:])
            path[-1].op = op
            for scope in path:
                scope.ops.append(op)
                if scope.first_use is None and not _is_variable(op):
                    scope.first_use = place
    for name, var in net.vars.items():
        for scope in _path(root, name):
            scope.variables.append(var)
    return root


def _path(scope, name):
    path = []
    for part in name.split('/'):
        scope = scope.children.setdefault(part, _Scope())
        path.append(scope)
    return path


def _collect(name, scope, layers):
    if scope.op is not None and scope.op.type in _PLUMBING:
        return
    if scope.is_layer():
        layers.append((name, scope))
        return
    for part, child in scope.in_order():
        _collect(f'{name}/{part}', child, layers)


def _trainables(scope):
    return [var for var in scope.variables if var.trainable]


def _is_variable(op):
    return op.type.startswith(('Variable', 'VarHandle'))


def _is_activation(tensor):
    """Whether the tensor carries a minibatch (first dimension unknown), as opposed to weights and shapes."""
    shape = tfutil.shape_to_list(tensor.shape)
    return tensor.dtype.is_floating and shape is not None and len(shape) >= 2 and shape[0] is None


def _is_inner_layout(net, name, tensor):
    """Whether this is [N, H, W, C], as a network computes that takes and gives [N, C, H, W]."""
    for component in net.components.values():
        if name.startswith(component.name + '/'):
            return _is_inner_layout(component, name[len(component.name) + 1:], tensor)
    return (net._template_format == 'NHWC' and name not in net.input_names + net.output_names
            and not isinstance(tensor, tf.Variable) and tensor.shape.ndims == 4 and _is_activation(tensor))


def _in_published_layout(net, name, tensor):
    if not _is_inner_layout(net, name, tensor):
        return tensor
    if tensor.name not in net._listed:
        with tfutil.absolute_name_scope(net.scope + '/_Layers'), tf.control_dependencies(None):
            net._listed[tensor.name] = tf.transpose(tensor, [0, 3, 1, 2], name=name.replace('/', '_'))
    return net._listed[tensor.name]


def print_layers(net, title=None, hide_layers_with_no_params=False):
    """Prints one line per layer with parameter count, output shape and weight shape, and a total."""
    rows = [[title or net.name, 'Params', 'OutputShape', 'WeightShape'], ['---'] * 4]
    total = 0
    for name, scope in _layers(net):
        variables, output = _trainables(scope), scope.output()
        shape = tfutil.shape_to_list(output.shape)
        if _is_inner_layout(net, name, output):
            shape = [shape[axis] for axis in (0, 3, 1, 2)]
        count = sum(int(np.prod(tfutil.shape_to_list(var.shape))) for var in variables)
        total += count
        if count == 0 and hide_layers_with_no_params:
            continue
        weights = sorted((var for var in variables if var.name.endswith('/weight:0')), key=lambda var: len(var.name))
        weights = weights or (variables if len(variables) == 1 else [])
        rows.append([name, str(count) if count else '-', _shape_text(shape),
                     _shape_text(tfutil.shape_to_list(weights[0].shape)) if weights else '-'])
    rows += [['---'] * 4, ['Total', str(total), '', '']]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    print()
    for row in rows:
        print('  '.join((('-' * width) if cell == '---' else cell).ljust(width)
                        for cell, width in zip(row, widths)).rstrip())
    print()


def _shape_text(shape):
    """'(?, 512)', '(512,)', '()': as tuples are written."""
    if shape is None:
        return '?'
    sizes = ['?' if size is None else str(size) for size in shape]
    return f'({sizes[0]},)' if len(sizes) == 1 else f"({', '.join(sizes)})"
