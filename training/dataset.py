"""Data sets under the published name of this module; they are read in `data.records`."""

from data.records.dataset import (  # noqa: F401  (names that programs and configurations use)
    SyntheticDataset,
    TFRecordDataset,
    load_dataset,
    parse_tfrecord_np,
    parse_tfrecord_tf,
)

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'dataset': ('TFRecordDataset', 'SyntheticDataset')}
