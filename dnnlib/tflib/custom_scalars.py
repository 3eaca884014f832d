"""TensorBoard's page of custom scalars: which tags make a chart with margins.

The plugin reads its layout from a summary that holds a small protocol buffer (`Layout` in TensorBoard's
custom_scalar/layout.proto), which is written here by hand: its Python module comes with TensorBoard, in versions that
need not fit the protobuf library of the engine.
"""

from collections import OrderedDict

from dnnlib.tflib.engine import tf

LAYOUT_TAG = 'custom_scalars__config__'
PLUGIN = 'custom_scalars'


def margin_tags(name):
    """The tags of the lower and the upper margin of `name`; they have a group of their own on the page of scalars."""
    return 'Margins/lower/' + name, 'Margins/upper/' + name


def margin_charts(names):
    """A `tf.Summary` that asks for a chart of every name with its margins, in groups by the names' first part."""
    groups = OrderedDict()
    for name in sorted(names):
        groups.setdefault(name.partition('/')[0], []).append(name)
    layout = b''.join(_field(2, _category(title, group)) for title, group in groups.items())
    metadata = tf.SummaryMetadata(plugin_data=tf.SummaryMetadata.PluginData(plugin_name=PLUGIN))
    return tf.Summary(value=[tf.Summary.Value(tag=LAYOUT_TAG, metadata=metadata,
                                              tensor=tf.make_tensor_proto(layout, tf.string))])


def _category(title, names):
    return _field(1, title.encode()) + b''.join(_field(2, _margin_chart(name)) for name in names)


def _margin_chart(name):
    series = b''.join(_field(number, tag.encode()) for number, tag in enumerate((name,) + margin_tags(name), 1))
    return _field(1, name.encode()) + _field(3, _field(1, series))


def _field(number, content):
    """A field of bytes: its key (number and wire type 2), its length as a varint, the bytes."""
    length, size = len(content), bytearray()
    while length >= 0x80:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return bytes([number << 3 | 2]) + bytes(size) + content
