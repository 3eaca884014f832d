"""The metrics' arithmetic against reference numbers, closed forms and other implementations."""

import pathlib

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from metrics import arithmetic, neighbours


@pytest.fixture(scope='module')
def golden():
    with np.load(str(pathlib.Path(__file__).parent / 'golden' / 'metrics.npz')) as archive:
        return {name: archive[name] for name in archive.files}


def random_covariance(rng, dims, rank=None):
    factor = rng.randn(dims, rank or 2 * dims)
    return factor @ factor.T / factor.shape[1]


@pytest.mark.both
def test_frechet_distance_equals_reference(golden):
    real, fake = golden['features_real'], golden['features_fake']
    value = arithmetic.frechet_distance(real.mean(0), np.cov(real, rowvar=False),
                                        fake.mean(0), np.cov(fake, rowvar=False))
    assert value == pytest.approx(float(golden['fid']), rel=1e-6)


def test_streamed_frechet_distance_equals_reference(golden):
    parts = []
    for features in (golden['features_real'], golden['features_fake']):
        stream = arithmetic.MeanCovariance(features.shape[1])
        for start in range(0, len(features), 7):
            stream.add(features[start:start + 7])
        parts.append(stream)
    real, fake = parts
    value = arithmetic.frechet_distance(real.mean, real.covariance, fake.mean, fake.covariance)
    assert value == pytest.approx(float(golden['fid']), rel=1e-6)


def test_frechet_distance_of_commuting_covariances_is_exact():
    rng = np.random.RandomState(0)
    basis = np.linalg.qr(rng.randn(200, 200))[0]
    # Spread over ten orders of magnitude, as the eigenvalues of Inception features are.
    a, b = 10.0 ** rng.uniform(-10, 0, [2, 200])
    expected = np.sum(np.square(np.sqrt(a) - np.sqrt(b)))
    sigma_a, sigma_b = (basis * a) @ basis.T, (basis * b) @ basis.T
    mu = rng.randn(200)
    ours = arithmetic.frechet_distance(mu, sigma_a, mu, sigma_b)
    root = scipy.linalg.sqrtm(sigma_a @ sigma_b)
    theirs = np.trace(sigma_a + sigma_b - 2 * np.real(root))
    assert ours == pytest.approx(expected, rel=1e-8)
    assert abs(ours - expected) <= abs(theirs - expected)


def test_frechet_distance_of_singular_covariances_is_exact():
    rng = np.random.RandomState(1)
    basis = np.linalg.qr(rng.randn(100, 100))[0]
    a, b = rng.uniform(0.5, 2, [2, 100])
    a[30:], b[40:] = 0, 0
    expected = np.sum(np.square(np.sqrt(a) - np.sqrt(b)))
    value = arithmetic.frechet_distance(np.zeros(100), (basis * a) @ basis.T, np.zeros(100), (basis * b) @ basis.T)
    assert value == pytest.approx(expected, rel=1e-7)


def test_frechet_distance_of_equal_gaussians_is_zero_and_constant_features_work():
    sigma = random_covariance(np.random.RandomState(2), 64)
    assert abs(arithmetic.frechet_distance(np.ones(64), sigma, np.ones(64), sigma)) < 1e-10
    zero = np.zeros([3, 3])
    assert arithmetic.frechet_distance([0, 0, 0], zero, [1, 2, 2], zero) == 9.0


@pytest.mark.parametrize('change, message', [
    (lambda a: a.update(sigma_real=np.full([4, 4], np.nan)), 'NaN'),
    (lambda a: a.update(sigma_fake=-np.eye(4)), 'negative eigenvalue'),
    (lambda a: a.update(sigma_fake=np.triu(np.ones([4, 4]))), 'not symmetric'),
    (lambda a: a.update(mu_fake=np.zeros(5)), 'do not fit'),
    (lambda a: a.update(mu_real=np.full(4, np.inf)), 'NaN or infinite'),
])
def test_frechet_distance_refuses_bad_input(change, message):
    arguments = dict(mu_real=np.zeros(4), sigma_real=np.eye(4), mu_fake=np.zeros(4), sigma_fake=np.eye(4))
    change(arguments)
    with pytest.raises(ValueError, match=message):
        arithmetic.frechet_distance(**arguments)


def test_too_few_samples_are_said_where_the_covariance_is_singular():
    features = np.random.RandomState(3).randn(21, 20)
    for count in (20, 21):
        assert (np.linalg.matrix_rank(np.cov(features[:count], rowvar=False)) < 20) == (count == 20)
        note = arithmetic.few_samples_note(count, 20)
        assert note is None if count > 20 else note.startswith('20 samples for 20 features: the covariance is singular')


@pytest.mark.slow
def test_frechet_distance_of_2048_features_equals_that_by_a_matrix_root():
    rng = np.random.RandomState(4)
    sigmas = [random_covariance(rng, 2048) for _ in range(2)]
    mu = np.zeros(2048)
    ours = arithmetic.frechet_distance(mu, sigmas[0], mu, sigmas[1])
    root = scipy.linalg.sqrtm(sigmas[0] @ sigmas[1])
    assert ours == pytest.approx(np.trace(sigmas[0] + sigmas[1] - 2 * np.real(root)), rel=1e-6)


def test_streaming_statistics_do_not_depend_on_batches_and_survive_a_large_offset():
    rng = np.random.RandomState(5)
    features = 1e6 + rng.randn(999, 8) @ rng.randn(8, 8)
    streams = [arithmetic.MeanCovariance(8) for _ in range(3)]
    for start in range(0, 999, 100):
        streams[0].add(features[start:start + 100])
    streams[1].add(features[:1])
    streams[1].add(features[1:1])
    streams[2].add(features[1:])
    for stream in (streams[0], streams[1].merged(streams[2])):
        assert stream.num_samples == 999
        np.testing.assert_allclose(stream.mean, features.mean(0), rtol=1e-12)
        np.testing.assert_allclose(stream.covariance, np.cov(features, rowvar=False), rtol=1e-7, atol=1e-9)


def test_streaming_statistics_refuse_nan_and_wrong_width():
    stream = arithmetic.MeanCovariance(3)
    with pytest.raises(ValueError, match='NaN'):
        stream.add([[0, np.nan, 0]])
    with pytest.raises(ValueError, match='shape'):
        stream.add(np.zeros([2, 4]))
    stream.add(np.zeros([1, 3]))
    with pytest.raises(ValueError, match='two samples'):
        stream.covariance  # noqa: B018


@pytest.mark.both
def test_path_length_equals_reference(golden):
    assert arithmetic.path_length_mean(golden['ppl_distances']) == pytest.approx(float(golden['ppl']), rel=1e-6)


def test_path_length_keeps_values_on_the_percentiles_and_drops_those_beyond():
    assert arithmetic.path_length_mean(np.arange(101.0)) == pytest.approx(50.0)
    assert arithmetic.path_length_mean([0.0] * 98 + [1e9]) == 1e9 / 99
    assert arithmetic.path_length_mean(list(np.ones(300)) + [1e9]) == 1.0
    assert arithmetic.path_length_mean([5.0]) == 5.0
    with pytest.raises(ValueError, match='NaN'):
        arithmetic.path_length_mean([1.0, np.nan])
    with pytest.raises(ValueError, match='no distances'):
        arithmetic.path_length_mean([])


@pytest.mark.both
def test_slerp_equals_reference(golden):
    a, b, t = golden['slerp_a'], golden['slerp_b'], golden['slerp_t']
    np.testing.assert_allclose(arithmetic.slerp(a, b, t), golden['slerp'], atol=1e-6)
    np.testing.assert_allclose(arithmetic.slerp(a, b, t + 1e-4), golden['slerp_plus_epsilon'], atol=1e-6)


def test_slerp_runs_at_constant_angle_and_copes_with_parallel_vectors():
    a, b = np.array([2.0, 0, 0]), np.array([0, 5.0, 0])
    np.testing.assert_allclose(arithmetic.slerp(a, b, 1 / 3), [np.sqrt(3) / 2, 0.5, 0], atol=1e-12)
    np.testing.assert_allclose(arithmetic.slerp(a, 3 * a, 0.5), [1, 0, 0], atol=1e-12)


@pytest.mark.both
def test_conditional_entropies_equal_reference(golden):
    outputs, targets = golden['ls_svm_outputs'], golden['ls_svm_targets']
    together = arithmetic.conditional_entropy_bits(outputs, targets)
    one_by_one = [arithmetic.conditional_entropy_bits(o, t) for o, t in zip(outputs, targets)]
    np.testing.assert_allclose(together, golden['ls_conditional_entropy_bits'], rtol=1e-6)
    np.testing.assert_allclose(one_by_one, together, rtol=1e-12)
    assert arithmetic.separability_score(together) == pytest.approx(float(golden['ls_score']), rel=1e-6)


def test_conditional_entropy_of_extreme_cases():
    half = np.array([0, 1] * 50)
    assert arithmetic.conditional_entropy_bits(half, half) == 0.0
    assert arithmetic.conditional_entropy_bits(half, 1 - half) == 0.0
    assert arithmetic.conditional_entropy_bits(np.zeros(100), half) == 1.0
    assert arithmetic.conditional_entropy_bits(half, np.zeros(100)) == 0.0
    with pytest.raises(ValueError, match='only 0 and 1'):
        arithmetic.conditional_entropy_bits(half + 1, half)
    with pytest.raises(ValueError, match='same shape'):
        arithmetic.conditional_entropy_bits(half[1:], half)


def test_most_confident_sorts_stably():
    first = [0.5, 0.9, 0.1, 0.6, 0.1]
    pairs = np.stack([first, 1 - np.array(first)], axis=1)
    assert list(arithmetic.most_confident(pairs, 4)) == [1, 2, 4, 3]


def test_kernel_distance_equals_its_definition_and_is_unbiased():
    rng = np.random.RandomState(7)
    real, fake = rng.randn(6, 3), rng.randn(5, 3) + 1

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3
    expected = (np.mean([kernel(x, y) for i, x in enumerate(real) for j, y in enumerate(real) if i != j])
                + np.mean([kernel(x, y) for i, x in enumerate(fake) for j, y in enumerate(fake) if i != j])
                - 2 * np.mean([kernel(x, y) for x in real for y in fake]))
    assert neighbours.kernel_distance(real, fake) == pytest.approx(expected)
    same = neighbours.kernel_distance_subsets(rng.randn(500, 4), rng.randn(500, 4), num_subsets=50, subset_size=100)
    shifted = neighbours.kernel_distance_subsets(rng.randn(500, 4), rng.randn(500, 4) + 1, 50, 100)
    assert abs(same.mean()) < 0.1 < shifted.mean()


def test_precision_and_recall_of_known_sets():
    rng = np.random.RandomState(8)
    real = rng.randn(300, 2)
    precision, recall, _, _ = neighbours.precision_recall(real, real + 100, block=64)
    assert (precision, recall) == (0.0, 0.0)
    precision, recall, _, _ = neighbours.precision_recall(real, rng.randn(300, 2), block=64)
    assert min(precision, recall) > 0.8
    # One mode of two: what is generated is real, what is real is half covered.
    two_modes = np.concatenate([real, real + 100])
    precision, recall, inside, covered = neighbours.precision_recall(two_modes, rng.randn(300, 2), block=64)
    assert precision > 0.8 and 0.4 < recall < 0.55
    assert inside.shape == (300,) and covered.shape == (600,)


def test_neighbour_radii_do_not_depend_on_the_block_size():
    features = np.random.RandomState(9).randn(57, 5)
    distances = np.linalg.norm(features[:, np.newaxis] - features[np.newaxis], axis=2)
    expected = np.sort(distances, axis=1)[:, 3]
    for block in (2, 10, 1000):
        np.testing.assert_allclose(np.sqrt(neighbours.kth_neighbour_radii(features, 3, block)), expected)
    with pytest.raises(ValueError, match='more than 3'):
        neighbours.kth_neighbour_radii(features[:3], 3)


def test_nearest_neighbours_of_a_stream():
    rng = np.random.RandomState(10)
    queries, candidates = rng.randn(4, 6), rng.randn(50, 6)
    search = neighbours.NearestNeighbours(queries, k=3)
    for start in range(0, 50, 8):
        search.add(candidates[start:start + 8])
    distances = np.linalg.norm(queries[:, np.newaxis] - candidates[np.newaxis], axis=2)
    np.testing.assert_array_equal(search.indices, np.argsort(distances, axis=1)[:, :3])
    np.testing.assert_allclose(search.distances, np.sort(distances, axis=1)[:, :3])


def test_standard_error_from_halves_agrees_with_repetition():
    rng = np.random.RandomState(11)
    samples = rng.randn(2000, 400)
    shuffled = [rng.permutation(row) for row in samples[0:1] for _ in range(200)]
    pairs = [(row[:200].mean(), row[200:].mean()) for row in shuffled]
    assert arithmetic.standard_error_from_halves(pairs) == pytest.approx(samples.mean(axis=1).std(), rel=0.2)
