"""Scores of pictures without a network: a folder against a folder, a data set, or stored statistics of one."""
