"""Making and inspecting data sets: everything behind `dataset_tool.py`. Does not need TensorFlow."""
