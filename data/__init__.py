"""Everything about data: records, converters, the pre-filter, and what `dataset_tool.py` does. Needs no TensorFlow."""
