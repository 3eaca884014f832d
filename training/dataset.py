"""Data sets under the published name of this module; they are read in `data.records`."""

from data.records.dataset import (  # noqa: F401  (names that programs and configurations use)
    SyntheticDataset,
    TFRecordDataset,
    load_dataset,
)

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'dataset': ('TFRecordDataset', 'SyntheticDataset')}
