"""Points that metrics compare: those of a generator and those of the data set, in the data set's coordinates."""

import os

import numpy as np

from dnnlib.submission import read_submit_config
from dnnlib.util import UserError
from metrics.context import SUBSETS, chunk_rng

_LOOP_RANGE = (-1, 1)   # default of the training loop's drange_net


def require_points(ctx, metric):
    """Raises UserError unless the generator makes points in the plane."""
    if ctx.output_shape != [2]:
        raise UserError(f'{metric} measures points in the plane, but the generator makes samples of '
                        f'{ctx.output_shape}; choose a metric of images, such as fid50k')


def generated(ctx, num_samples, chunk_size):
    """Points of the generator, float64 [num_samples, 2]."""
    def build(index, holders):
        return [ctx.build_images(index, holders)]

    def feed(chunk):
        return ctx.feed_inputs(chunk, chunk_size)

    inputs = ctx.placeholders(chunk_size)
    parts = [points[:count] for _, _, count, (points,) in
             ctx.run_chunks('points', num_samples, chunk_size, inputs, build, feed)]
    low, high = network_range(ctx)
    box = ctx.dataset.dynamic_range
    return (np.concatenate(parts).astype(np.float64) - low) * ((box[1] - box[0]) / (high - low)) + box[0]


def network_range(ctx):
    """What the generator calls the data's lowest and highest coordinate: as its run says, without one the same."""
    run_dir = ctx.run_dir or ctx.network.run_dir
    if run_dir is None or not os.path.isfile(os.path.join(run_dir, 'submit_config.json')):
        return ctx.dataset.dynamic_range
    return read_submit_config(run_dir)['config'].get('train', {}).get('drange_net', _LOOP_RANGE)


def real(ctx, num_samples):
    """At most `num_samples` different points of the data set, in an order of their own: float64 [N, 2]."""
    order = chunk_rng(ctx.seed, SUBSETS, 0).permutation(ctx.dataset.num_images)[:num_samples]
    return ctx.dataset.get_samples_np(order)[0].astype(np.float64)
