"""What a run keeps between two steps: its state, checkpoints of it, and its log."""
