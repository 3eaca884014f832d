"""Metrics of generators of points in the plane, and the theory of the GAN game that they rest on."""
