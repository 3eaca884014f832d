"""What surrounds the lecture's systems: the sheet of minimal GANs."""
