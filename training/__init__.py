"""The experiment: networks, losses, schedule, data sets, checkpoints and the loop that ties them together."""
