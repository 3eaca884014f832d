"""A discriminator trained to convergence against a fixed generator: its value gives the Jensen-Shannon divergence."""

import numpy as np

from dnnlib import tflib
from dnnlib.tflib import tf

HIDDEN = (64, 64)
NUM_WAVES = 3           # sines and cosines of each coordinate, so that narrow modes are told apart early
MINIBATCH = 1000        # of reals and fakes together
LEARNING_RATE = 2e-3
NUM_CHECKS = 6


def train_discriminator(reals, fakes, box, num_steps, rng, check_stop=lambda: None):
    """Trains on 3/5 of the points and evaluates on the rest.

    Args:
        reals, fakes: float arrays [N, 2] and [M, 2].
        box: lowest and highest coordinate, which are scaled to -1 and 1.
        num_steps: steps of Adam, with a learning rate that falls to zero along a cosine.
        rng: numpy's RandomState, on which everything random rests.
        check_stop: called between the steps, may raise.

    Returns the value E[log D(real)] + E[log(1 - D(fake))] on the points held out, in nats, at NUM_CHECKS times.
    """
    points = tf.placeholder(tf.float32, [None, 2])
    is_real = tf.placeholder(tf.float32, [None])
    rate = tf.placeholder(tf.float32, [])
    scores, variables = _build(points, box, rng)
    real_part = tf.reduce_sum(tf.nn.softplus(-scores) * is_real) / tf.reduce_sum(is_real)
    fake_part = tf.reduce_sum(tf.nn.softplus(scores) * (1 - is_real)) / tf.reduce_sum(1 - is_real)
    value = -(real_part + fake_part)
    optimizer = tflib.Optimizer(name='OptimalD', learning_rate=rate)
    optimizer.register_gradients(-value, variables)
    step = optimizer.apply_updates()
    tflib.init_uninitialized_vars(variables + list(optimizer.state_vars().values()))

    num_real, num_fake = len(reals) * 3 // 5, len(fakes) * 3 // 5
    held_out = {points: np.concatenate([reals[num_real:], fakes[num_fake:]]),
                is_real: np.repeat([1.0, 0.0], [len(reals) - num_real, len(fakes) - num_fake])}
    half, values = MINIBATCH // 2, []
    labels = np.repeat([1.0, 0.0], half)
    for number in range(num_steps):
        check_stop()
        chosen = [reals[rng.randint(num_real, size=half)], fakes[rng.randint(num_fake, size=half)]]
        tflib.run(step, {points: np.concatenate(chosen), is_real: labels,
                         rate: LEARNING_RATE * (1 + np.cos(np.pi * number / num_steps)) / 2})
        if (number + 1) * NUM_CHECKS // num_steps > number * NUM_CHECKS // num_steps:
            values.append(float(tflib.run(value, held_out)))
    return values


def _build(points, box, rng):
    """(logits [N], variables) of a perceptron with leaky rectifiers."""
    x = (points - (box[0] + box[1]) / 2) * (2 / (box[1] - box[0]))
    waves = [wave(np.pi * k * x) for k in range(1, NUM_WAVES + 1) for wave in (tf.sin, tf.cos)]
    x = tf.concat([x] + waves, axis=1)
    variables = []
    with tf.variable_scope(None, default_name='OptimalD'):
        for number, width in enumerate(HIDDEN + (1,)):
            fan_in, is_last = x.shape.as_list()[1], number == len(HIDDEN)
            start = np.zeros([fan_in, width]) if is_last else rng.randn(fan_in, width) * np.sqrt(2 / fan_in)
            variables += [tf.get_variable(f'weight{number}', initializer=start.astype(np.float32)),
                          tf.get_variable(f'bias{number}', initializer=np.zeros(width, np.float32))]
            x = tf.matmul(x, variables[-2]) + variables[-1]
            x = x if is_last else tf.nn.leaky_relu(x)
    return x[:, 0], variables
