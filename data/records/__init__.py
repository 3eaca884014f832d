"""Data sets on the disk: records, levels of detail, manifests, and how they are read."""
