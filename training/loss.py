"""Losses of the generator and of the discriminator, one tensor [N] or [N, 1] of float32 values per minibatch.

All take the networks G and D as built on one device, their optimizer `opt` (whose loss scaling surrounds inner
gradients), the data set (for random labels) and the minibatch size. The discriminator's also take `reals` and their
`labels`. Every draw goes through `tflib.rnd`, so that inside a seed scope it is a function of seed and step.

Sources: Goodfellow et al. 2014 (logistic), Arjovsky et al. 2017 (WGAN), Gulrajani et al. 2017 (WGAN-GP), Miyato et al.
2018 (hinge), Mescheder et al. 2018 (R1, R2), Karras et al. 2018 (epsilon penalty).
"""

from dnnlib import tflib
from dnnlib.tflib import tf
from dnnlib.tflib.autosummary import autosummary
from training.codes import trained_part

# Names that files may give, see dnnlib/registry.py.
DECLARES = {
    'G_loss': ('G_logistic_nonsaturating', 'G_logistic_saturating', 'G_wgan'),
    'D_loss': ('D_logistic_simplegp', 'D_logistic', 'D_wgan_gp', 'D_wgan', 'D_hinge_gp', 'D_hinge')}

_FAKES_OF_D = 'fakes_of_D'  # Graph collection of (G, fakes, labels).


# ---- Generator

def G_wgan(
    G, D, opt, training_set, minibatch_size,
    reuse_fakes = False,    # Score the fakes of D's last step again, instead of fresh ones.
):
    """Wasserstein loss: raise the scores of the fakes."""
    return -_fake_scores_for_G(G, D, training_set, minibatch_size, reuse_fakes)


def G_logistic_saturating(
    G, D, opt, training_set, minibatch_size,
    reuse_fakes = False,    # Score the fakes of D's last step again, instead of fresh ones.
):
    """log(1 - sigmoid(score)): the loss of the minimax game, whose gradient fades where D wins."""
    return -tf.nn.softplus(_fake_scores_for_G(G, D, training_set, minibatch_size, reuse_fakes))


def G_logistic_nonsaturating(
    G, D, opt, training_set, minibatch_size,
    reuse_fakes = False,    # Score the fakes of D's last step again, instead of fresh ones.
):
    """-log(sigmoid(score)): the default."""
    return tf.nn.softplus(-_fake_scores_for_G(G, D, training_set, minibatch_size, reuse_fakes))


# ---- Discriminator: Wasserstein

def D_wgan(
    G, D, opt, training_set, minibatch_size, reals, labels,
    wgan_epsilon = 0.001,   # Weight of the penalty that keeps real scores near zero; 0 to 1e6
):
    """Wasserstein loss with a drift penalty."""
    real_scores, fake_scores, _fakes = _scores_for_D(G, D, minibatch_size, reals, labels)
    return fake_scores - real_scores + _epsilon_penalty(real_scores, wgan_epsilon)


def D_wgan_gp(
    G, D, opt, training_set, minibatch_size, reals, labels,
    wgan_lambda  = 10.0,    # Weight of the gradient penalty; 0 to 1e6
    wgan_epsilon = 0.001,   # Weight of the penalty that keeps real scores near zero; 0 to 1e6
    wgan_target  = 1.0,     # Norm that the gradient is drawn to; 1e-6 to 1e6
):
    """Wasserstein loss with gradient penalty between reals and fakes."""
    real_scores, fake_scores, fakes = _scores_for_D(G, D, minibatch_size, reals, labels)
    loss = fake_scores - real_scores
    loss += _mixed_gradient_penalty(D, opt, reals, fakes, labels, wgan_lambda, wgan_target)
    loss += _epsilon_penalty(real_scores, wgan_epsilon)
    return loss


# ---- Discriminator: hinge

def D_hinge(G, D, opt, training_set, minibatch_size, reals, labels):
    """Hinge loss: scores beyond the margin of 1 count no further."""
    real_scores, fake_scores, _fakes = _scores_for_D(G, D, minibatch_size, reals, labels)
    return tf.nn.relu(1.0 + fake_scores) + tf.nn.relu(1.0 - real_scores)


def D_hinge_gp(
    G, D, opt, training_set, minibatch_size, reals, labels,
    wgan_lambda = 10.0,     # Weight of the gradient penalty; 0 to 1e6
    wgan_target = 1.0,      # Norm that the gradient is drawn to; 1e-6 to 1e6
):
    """Hinge loss with gradient penalty between reals and fakes."""
    real_scores, fake_scores, fakes = _scores_for_D(G, D, minibatch_size, reals, labels)
    loss = tf.nn.relu(1.0 + fake_scores) + tf.nn.relu(1.0 - real_scores)
    loss += _mixed_gradient_penalty(D, opt, reals, fakes, labels, wgan_lambda, wgan_target)
    return loss


# ---- Discriminator: logistic

def D_logistic(G, D, opt, training_set, minibatch_size, reals, labels):
    """Cross-entropy of "real" and "fake"."""
    real_scores, fake_scores, _fakes = _scores_for_D(G, D, minibatch_size, reals, labels)
    return tf.nn.softplus(fake_scores) + tf.nn.softplus(-real_scores)


def D_logistic_simplegp(
    G, D, opt, training_set, minibatch_size, reals, labels,
    r1_gamma = 10.0,        # Weight of the gradient penalty at the reals, 0 leaves it out; 0 to 1e6
    r2_gamma = 0.0,         # Weight of the gradient penalty at the fakes, 0 leaves it out; 0 to 1e6
):
    """Cross-entropy with simple gradient penalties: the default, with R1."""
    real_scores, fake_scores, fakes = _scores_for_D(G, D, minibatch_size, reals, labels)
    loss = tf.nn.softplus(fake_scores) + tf.nn.softplus(-real_scores)
    if r1_gamma != 0.0:
        r1_penalty = autosummary('Loss/r1_penalty', _squared_gradient(opt, real_scores, reals))
        loss += _per_score(r1_penalty, loss) * (r1_gamma * 0.5)
    if r2_gamma != 0.0:
        r2_penalty = autosummary('Loss/r2_penalty', _squared_gradient(opt, fake_scores, fakes))
        loss += _per_score(r2_penalty, loss) * (r2_gamma * 0.5)
    return loss


# ---- Fakes

def draw_fakes(G, minibatch_size, labels):
    """What G makes in training mode of standard normal latents and the given labels [N, label_size].

    Of a generator composed of code generator and decoder these are codes.
    """
    G = trained_part(G)
    latents = tflib.rnd.random_normal([minibatch_size] + list(G.input_shapes[0][1:]))
    return G.get_output_for(latents, labels, is_training=True, seed=tflib.rnd.next_seed())


def draw_fakes_for_D(G, minibatch_size, labels):
    """The same for D's step, kept for a loss of G that steps on them too."""
    fakes = draw_fakes(G, minibatch_size, labels)
    tf.add_to_collection(_FAKES_OF_D, (G, fakes, labels))
    return fakes


def fakes_of_D(G):
    """(fakes, labels) that this tower's loss of D scores, for a loss of G whose step follows D's with the same latents.

    The training graph builds D's loss first where G's is configured with `reuse_fakes`; a loss of one's own that
    calls this needs a keyword of that name. Raises RuntimeError if D's loss drew none.
    """
    found = [entry[1:] for entry in tf.get_collection(_FAKES_OF_D) if entry[0] is G]
    if not found:
        raise RuntimeError('the loss of D drew no fakes (draw_fakes_for_D) that the loss of G could reuse')
    return found[-1]


# ---- Common parts

def fp32(*values):
    """The given tensors, or those of one given tuple, as float32: one tensor, or a tuple of several."""
    if len(values) == 1 and isinstance(values[0], tuple):
        values = values[0]
    values = tuple(tf.cast(value, tf.float32) for value in values)
    return values if len(values) > 1 else values[0]


def scores_of(D, samples, labels):
    """D's scores in training mode, float32. A D that leaves units out at random draws anew for each call."""
    seed = {'seed': tflib.rnd.next_seed()} if 'seed' in getattr(D, 'keyword_names', ()) else {}
    return fp32(D.get_output_for(samples, labels, is_training=True, **seed))


def _fake_scores_for_G(G, D, training_set, minibatch_size, reuse_fakes):
    if reuse_fakes:
        fakes, labels = fakes_of_D(G)
    else:
        labels = training_set.get_random_labels_tf(minibatch_size)
        fakes = draw_fakes(G, minibatch_size, labels)
    return scores_of(D, fakes, labels)


def _scores_for_D(G, D, minibatch_size, reals, labels):
    """(real scores, fake scores, fakes). The fakes get the labels of the reals."""
    fakes = draw_fakes_for_D(G, minibatch_size, labels)
    real_scores = scores_of(D, reals, labels)
    fake_scores = scores_of(D, fakes, labels)
    real_scores = autosummary('Loss/scores/real', real_scores)
    fake_scores = autosummary('Loss/scores/fake', fake_scores)
    return real_scores, fake_scores, fakes


def _squared_gradient(opt, scores, images):
    """Squared norm per sample [N] of the gradient of the summed scores with respect to the images."""
    scaled = opt.apply_loss_scaling(tf.reduce_sum(scores))
    gradients = tf.gradients(scaled, [images], aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE)[0]
    gradients = opt.undo_loss_scaling(tf.cast(gradients, tf.float32))
    return tf.reduce_sum(tf.square(gradients), axis=list(range(1, gradients.shape.rank)))


def _mixed_gradient_penalty(D, opt, reals, fakes, labels, weight, target):
    """Weighted squared distance of the gradient's norm from the target, at points uniform between reals and fakes."""
    fakes = tf.cast(fakes, reals.dtype)
    shape = tf.concat([tf.shape(reals)[:1], tf.ones([reals.shape.rank - 1], tf.int32)], axis=0)
    mixed = tflib.lerp(reals, fakes, tf.cast(tflib.rnd.random_uniform(shape, 0.0, 1.0, tf.float32), reals.dtype))
    scores = scores_of(D, mixed, labels)
    scores = autosummary('Loss/scores/mixed', scores)
    # The root's slope is infinite at zero, which would turn a sample without gradient into NaN for all.
    norms = tf.sqrt(tf.maximum(_squared_gradient(opt, scores, mixed), 1e-30))
    norms = autosummary('Loss/mixed_norms', norms)
    return _per_score(tf.square(norms - target), scores) * (weight / target ** 2)


def _epsilon_penalty(real_scores, weight):
    return autosummary('Loss/epsilon_penalty', tf.square(real_scores)) * weight


def _per_score(penalty, scores):
    """Gives a penalty [N] the rank of scores [N, 1], so that the sum does not broadcast to [N, N]."""
    return tf.reshape(penalty, [-1] + [1] * (scores.shape.rank - 1))
