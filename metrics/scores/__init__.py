"""What is kept of a measured score, what its name promises, and how two scores compare. No TensorFlow is imported."""
