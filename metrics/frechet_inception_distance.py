"""FID: Frechet distance between Gaussians fitted to Inception features of real and generated images.

Source: Heusel et al. 2017; numbers and protocol as in the StyleGAN paper (Tables 1 and 2).
"""

from itertools import combinations

from dnnlib.util import UserError
from metrics import features
from metrics.arithmetic import few_samples_note, frechet_distance
from metrics.base import MetricBase
from metrics.scores.result import Result
from metrics.sets.sources import Statistics

# Names that files may give, see dnnlib/registry.py.
DECLARES = {'metric': ('FID', 'DecodedFID')}


class FID(MetricBase):
    """Frechet Inception distance.

    Args:
        num_images: reals and fakes, each; a whole number from 2 to 1e9
        minibatch_per_gpu: images per chunk; a whole number from 1 to 1e6
        num_mixed: latents that are mixed per image (Table 2 of the StyleGAN paper), 1: none; 1 to 100
        reals: the first of the data set, as the released code has them, or drawn at random with the metric's seed, as
            the paper says (section 2.1); order or random
        reference: file of statistics that `run_metrics.py stats` made, which stand for the reals; a text or null
    """

    uses_dataset = True
    uses_networks = ('inception',)
    better = 'lower'

    def __init__(self, num_images, minibatch_per_gpu, num_mixed=1, reals='order', reference=None, **kwargs):
        super().__init__(**kwargs)
        self._check_numbers(2, num_images=num_images)
        self._check_numbers(1, minibatch_per_gpu=minibatch_per_gpu, num_mixed=num_mixed)
        if reals not in ('order', 'random'):
            raise UserError(f"{self.name}: reals is {reals!r:.60}; order or random is expected")
        if reference is not None and reals != 'order':
            raise UserError(f'{self.name}: reals are not drawn, since {reference} stands for them')
        self.reals = reals
        self.reference = None if reference is None else Statistics(reference)
        self.num_images = num_images
        self.minibatch_per_gpu = minibatch_per_gpu
        self.num_mixed = num_mixed

    def _groups(self, ctx):
        """Statistics of the fakes' features, in four parts."""
        return features.fake_statistics(ctx, self.num_images, self.minibatch_per_gpu, self.num_mixed)

    def _evaluate(self, ctx):
        result = Result()
        if self.reference is not None:
            real = features.given_statistics(ctx, self.reference)
        else:
            real = features.real_statistics(ctx, self.num_images, self.minibatch_per_gpu, self.reals == 'random')
        groups = self._groups(ctx)
        fake = groups[0].merged(*groups[1:])

        num_features = real.num_features
        note = few_samples_note(min(real.num_samples, fake.num_samples), num_features)
        result.problems += [note] if note else []
        result.problems += features.notes_on_reals(ctx, self.num_images, num_features)

        sigma_real = real.covariance

        def distance(part):
            ctx.check_stop()
            return frechet_distance(real.mean, sigma_real, part.mean, part.covariance)

        pairs = [[distance(half) for half in halves] for halves in _halvings(groups)]
        result.add_with_halves(distance(fake), pairs)
        result.details.update(num_features=num_features, halves=pairs)
        result.notes.append('the standard error, from halves of the fakes, is that of sampling the fakes')
        return result


class DecodedFID(FID):
    """The distance between images and what a codec leaves of them: that of a generator of codes which has learnt its
    data perfectly ("An Acceleration Framework for High Resolution Image Synthesis").

    Args:
        num_images: images, and codes to decode; a whole number from 2 to 1e9
        minibatch_per_gpu: images per chunk; a whole number from 1 to 1e6
    """

    def __init__(self, num_images, minibatch_per_gpu, **kwargs):
        super().__init__(num_images, minibatch_per_gpu, **kwargs)

    def _groups(self, ctx):
        return features.decoded_statistics(ctx, self.num_images, self.minibatch_per_gpu)


def _halvings(groups):
    """The ways to cut four groups of statistics into two halves; none where a half would be too small."""
    if min(group.num_samples for group in groups) < 2:
        return []
    first, rest = groups[0], groups[1:]
    result = []
    for partner in combinations(rest, len(groups) // 2 - 1):
        others = [group for group in rest if all(group is not chosen for chosen in partner)]
        result.append((first.merged(*partner), others[0].merged(*others[1:])))
    return result
