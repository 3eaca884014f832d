"""What surrounds the lecture's systems: the sizes of their networks, and the sheet of minimal GANs."""
