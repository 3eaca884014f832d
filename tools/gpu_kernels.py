"""Whether a GPU has a kernel for all that training asks it for, by the lists of TensorFlow's GPU build: no GPU needed.

    python tools/gpu_kernels.py

What has none would run on the CPU without a word, its tensors copied there and back at every step. Printed are such
operations, and of the tensors of four or more dimensions those that are copied between the host and the GPU all the
same. TensorFlow's CPU builds have no such lists.
"""

import collections
import contextlib
import os
import sys
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, 'benchmarks')]


import check_python  # noqa: E402, F401
from dnnlib.command_line import Parser  # noqa: E402
from dnnlib.util import UserError, run_main  # noqa: E402

NETWORKS = {'stylegan': ('training.networks_stylegan.G_style', 'training.networks_stylegan.D_basic'),
            'progan': ('training.networks_progan.G_paper', 'training.networks_progan.D_paper')}
SMALL = dict(fmap_base=256, latent_size=32, dlatent_size=32, mapping_fmaps=32)


def build_graph(family, dtype, num_gpus):
    """The graph of a training step at 64x64 for so many GPUs, of which none need be there."""
    import training_steps

    from data.records.dataset import SyntheticDataset
    from dnnlib import tflib

    def nothing(what, *_args, **_kwargs):
        for tensor in what if isinstance(what, list) else []:
            getattr(tensor, 'mark_used', bool)()    # else TensorFlow 1.15 complains
        return [True] * len(what) if isinstance(what, list) else None

    with contextlib.ExitStack() as stack:
        for owner, name, value in ((tflib.engine, 'list_gpus', lambda: ['a GPU'] * num_gpus),
                                   (tflib.tfutil, 'run', nothing), (tflib.tfutil.Session, 'run', nothing)):
            stack.enter_context(mock.patch.object(owner, name, value))
        G, D = [dict(SMALL, func_name=name, dtype=dtype) for name in NETWORKS[family]]
        step = training_steps.Step(SyntheticDataset(resolution=64, num_images=256), 8 * num_gpus, G, D,
                                   num_towers=num_gpus, device='gpu')
        step.close()
    return step.graph


class Kernels:
    """TensorFlow's lists of kernels."""

    def __init__(self):
        self._lists = {}

    def of(self, op):
        """The kernel of an operation on a GPU; None without one."""
        from tensorflow.python.framework import kernels
        if op.type not in self._lists:
            found = list(kernels.get_registered_kernels_for_op(op.type).kernel)
            self._lists[op.type] = [kernel for kind in ('GPU', 'DEFAULT') for kernel in found
                                    if kernel.device_type == kind]
        return next((kernel for kernel in self._lists[op.type] if _fits(kernel, op)), None)


def _fits(kernel, op):
    for constraint in kernel.constraint:
        types = op.get_attr(constraint.name)
        for found in types if isinstance(types, list) else [types]:
            if found.as_datatype_enum not in constraint.allowed_values.list.type:
                return False
    return True


def _names(arguments, op):
    """The argument that each input, or output, of an operation belongs to."""
    found = []
    for argument in arguments:
        count = 1
        if argument.number_attr:
            count = op.get_attr(argument.number_attr)
        elif argument.type_list_attr:
            count = len(op.get_attr(argument.type_list_attr))
        found += [argument.name] * count
    return found


def examine(graph):
    """(operations asked of a GPU: number, those of them without a kernel there, copies of large tensors).

    The last two are Counters, of texts.
    """
    kernels, number, without, copies = Kernels(), 0, collections.Counter(), collections.Counter()
    of_gpu = {}     # name of an operation on a GPU -> its kernel
    for op in graph.get_operations():
        is_asked, kernel = 'GPU' in op.device, None
        if 'CPU' not in op.device:  # TensorFlow takes a GPU for what is asked of no device, too
            kernel = kernels.of(op)
        number += is_asked
        if kernel is not None:
            of_gpu[op.name] = kernel
        elif is_asked:
            without[f'{op.type} of {", ".join(tensor.dtype.name for tensor in op.inputs) or "nothing"}'] += 1
    for op in graph.get_operations():
        for tensor, name in zip(op.inputs, _names(op.op_def.input_arg, op)):
            source = tensor.op
            from_host, to_host = [
                kernel is None or argument in kernel.host_memory_arg for kernel, argument in (
                    (of_gpu.get(source.name), _names(source.op_def.output_arg, source)[tensor.value_index]),
                    (of_gpu.get(op.name), name))]
            if from_host != to_host and (tensor.shape.ndims is None or tensor.shape.ndims >= 4):
                copies[f'{source.type} to {op.type}, {tensor.dtype.name}, to the {"host" if to_host else "GPU"}'] += 1
    return number, without, copies


def main(argv=None):
    """Prints what was found; the exit status is 1 where a kernel is missing."""
    parser = Parser(description=__doc__.split('\n\n')[0])
    parser.add_argument('--num-gpus', type=int, default=1, metavar='N', help='of the training (default: %(default)s)')
    args = parser.parse_args(argv)
    from dnnlib.tflib import tf
    if not tf.test.is_built_with_cuda():
        raise UserError(f'TensorFlow {tf.__version__}, as installed here, was built without GPUs and lists no kernels '
                        'for them; install its GPU build, of which requirements/*-gpu.txt tell, somewhere')
    is_complete = True
    for family in sorted(NETWORKS):
        for dtype in ('float32', 'float16'):
            number, without, copies = examine(build_graph(family, dtype, args.num_gpus))
            print(f'{family}, {dtype}: {number} operations asked of a GPU by TensorFlow {tf.__version__}', flush=True)
            for title, found in (('without a kernel', without), ('copied', copies)):
                for text, count in found.most_common():
                    print(f'  {title}: {count} times {text}')
            is_complete = is_complete and not without
    return 0 if is_complete else 1


if __name__ == '__main__':
    run_main(main)
