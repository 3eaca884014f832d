"""Forms in which programs written for the original call the training, and what its runs left behind."""
