"""Questions that several runs answer together: their training, tables, curves."""
