"""Jensen-Shannon divergence between the data and what the generator makes, for points in the plane."""

import numpy as np

from metrics.base import MetricBase
from metrics.context import HALVES, chunk_rng
from metrics.points import samples
from metrics.points.discriminator import train_discriminator
from metrics.points.divergence import cell_shares, jsd, jsd_of_value, with_rest
from metrics.scores.result import Result

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('JSD',)}

_STILL_LEARNING = 0.02  # nats: gain in the second half of training from which a value is called a problem


class JSD(MetricBase):
    """The divergence in nats, from 0 to log 2 = 0.693, estimated in two ways.

    `jsd` compares histograms: shares of the generator's points in the cells of the data's box and in one cell for
    the rest, against the density's mass in each cell, or the reals' shares where it has no closed form. `jsd_floor` is
    the same for other reals in place of the generator's points, which is what chance alone gives. `jsd_D` follows from
    the value of a discriminator that was trained to convergence, on points that it was not trained on; it is a lower
    bound but for chance, and sees what is finer than a cell.

    Args:
        num_samples: points of each side; a whole number from 5 to 1e9
        num_cells: cells along each axis; a whole number from 1 to 4096
        num_steps: training steps of the discriminator; a whole number from 1 to 1e9
        minibatch_per_gpu: points per chunk; a whole number from 1 to 1e6
    """

    uses_dataset = True
    suffixes = ('', '_floor', '_D')
    better = 'lower'        # The floor is no score of the network.

    def __init__(self, num_samples, num_cells=64, num_steps=3000, minibatch_per_gpu=10000, **kwargs):
        super().__init__(**kwargs)
        self._check_numbers(5, num_samples=num_samples)     # of which the discriminator is tried on two
        self._check_numbers(1, num_cells=num_cells, num_steps=num_steps, minibatch_per_gpu=minibatch_per_gpu)
        self._check_share(1, 4096, num_cells=num_cells)
        self.num_samples = num_samples
        self.num_cells = num_cells
        self.num_steps = num_steps
        self.minibatch_per_gpu = minibatch_per_gpu

    def _evaluate(self, ctx):
        samples.require_points(ctx, self.name)
        result = Result()
        box, distribution = ctx.dataset.dynamic_range, ctx.dataset.distribution
        fakes = samples.generated(ctx, self.num_samples, min(self.minibatch_per_gpu, self.num_samples))
        masses = distribution.cell_masses(self.num_cells, box) if distribution is not None else None
        needed = self.num_samples * (1 if masses is not None else 2)
        reals = samples.real(ctx, needed)
        if len(reals) < needed:
            result.problems.append(f'the data set has only {len(reals)} points, of which {needed} were wanted: the '
                                   'floor is higher than it need be')
        others = reals if masses is not None else reals[len(reals) // 2:]
        wanted = with_rest(masses) if masses is not None else cell_shares(reals[:len(reals) // 2], self.num_cells, box)
        result.add(jsd(wanted, cell_shares(fakes, self.num_cells, box)))
        result.add(jsd(wanted, cell_shares(others, self.num_cells, box)), '_floor')

        values = train_discriminator(reals[:self.num_samples], fakes, box, self.num_steps,
                                     chunk_rng(ctx.seed, HALVES, 0), ctx.check_stop)
        result.add(jsd_of_value(values[-1]), '_D')
        if jsd_of_value(values[-1]) - jsd_of_value(values[len(values) // 2 - 1]) > _STILL_LEARNING:
            result.problems.append('the discriminator of jsd_D was still getting better when its training ended')
        result.notes.append('against ' + ('the density' if masses is not None else 'a histogram of reals'))
        result.details.update(value_of_D=values, value_without_difference=float(-np.log(4)), num_cells=self.num_cells)
        return result
