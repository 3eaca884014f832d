"""Networks in files: which one a user means, which one a run stands for, and how they are read."""
