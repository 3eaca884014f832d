"""The one place that names devices and chooses the activation layout that suits them.

Networks keep the published NCHW shapes at their borders. Inside, activations are NHWC on a CPU, where stock
TensorFlow has no NCHW convolution, and NCHW on a GPU.
"""

from dnnlib.tflib import engine
from dnnlib.util import UserError

_selected = {'kind': None, 'num': 1}


def select_device(kind='auto', num_gpus=1):
    """Chooses the devices that towers run on.

    Args:
        kind: 'cpu', 'gpu' or 'auto' (a GPU where there is one).
        num_gpus: number of towers; on a CPU they run on as many virtual CPU devices, which the session must
            have been created with (`init_tf({'device_count.CPU': num_gpus})`).

    Returns:
        'cpu' or 'gpu'.

    Raises:
        UserError: GPUs were asked for and fewer are usable.
    """
    if kind not in ('auto', 'cpu', 'gpu'):
        raise UserError(f"device is '{kind}'; choose auto, cpu or gpu")
    num_found = 0 if kind == 'cpu' else len(engine.list_gpus())
    if kind == 'gpu' and num_found < num_gpus:
        raise UserError(f'{num_gpus} GPU(s) were asked for, but TensorFlow can use {num_found}; check the driver '
                        'with nvidia-smi, lower --num-gpus, or pass --device cpu')
    if kind == 'auto':
        kind = 'gpu' if num_found >= max(num_gpus, 1) else 'cpu'
    _selected.update(kind=kind, num=num_gpus)
    return kind


def device_kind():
    """'cpu' or 'gpu': what was selected, or what this machine has."""
    if _selected['kind'] is None:
        select_device('auto')
    return _selected['kind']


def has_selected_gpu():
    """Whether a GPU was selected so far; other than `device_kind`, this selects none."""
    return _selected['kind'] == 'gpu'


def device_name(index=0):
    """The TensorFlow device string of tower `index`, for example `/gpu:1`."""
    return f'/{device_kind()}:{index}'


def data_format():
    """'NHWC' or 'NCHW': the layout of activations that suits the selected device."""
    return 'NCHW' if device_kind() == 'gpu' else 'NHWC'


def gains_one_by_one():
    """Whether generators that compute large samples one after another are faster: on a CPU by TensorFlow 1.15 alone."""
    return engine.ENGINE == 'tf1' and device_kind() == 'cpu'


def runs_channels_first():
    """Whether the selected device has convolutions of [N, C, H, W]: on a CPU only those of oneDNN have."""
    if device_kind() == 'gpu':
        return True
    tf = engine.tf
    with tf.Graph().as_default(), tf.Session(config=tf.ConfigProto(device_count={'GPU': 0})) as session:
        try:
            session.run(tf.nn.conv2d(tf.ones([1, 8, 8, 8]), tf.ones([3, 3, 8, 8]), strides=[1, 1, 1, 1],
                                     padding='SAME', data_format='NCHW'))
        except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
            return False
    return True
