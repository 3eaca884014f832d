"""The networks of the experiment of Fig. 6, and their training: minutes at most, on a CPU."""

from dnnlib import tflib
from dnnlib.progress import Progress
from dnnlib.tflib import tf

WIDTH = 64              # of the hidden layers of mapping and discriminator
SYNTHESIS_WIDTH = 16    # of the one hidden layer of the synthesis network
R1_GAMMA = 0.1
RATE = 2e-3
HALF_LIFE = 200         # steps, of the moving average of the generator that is drawn


def _dense(x, width, name, activation=True):
    with tf.variable_scope(name, reuse=tf.AUTO_REUSE):
        weight = tf.get_variable('weight', [x.shape.as_list()[1], width],
                                 initializer=tf.initializers.variance_scaling(2.0 if activation else 1.0))
        x = tf.matmul(x, weight) + tf.get_variable('bias', [width], initializer=tf.zeros_initializer())
    return tf.nn.leaky_relu(x, 0.2) if activation else x


def mapping(z, num_layers, scope='G'):
    """w [N, 2] of z [N, 2]."""
    for number in range(num_layers - 1):
        z = _dense(z, WIDTH, f'{scope}/mapping{number}')
    return _dense(z, 2, f'{scope}/mapping{num_layers - 1}', activation=False)


def synthesis(w, scope='G'):
    """Points [N, 2] of w [N, 2]: a linear map at first, which bends if it learns to."""
    hidden = _dense(w, SYNTHESIS_WIDTH, f'{scope}/synthesis0')
    with tf.variable_scope(f'{scope}/bend', reuse=tf.AUTO_REUSE):
        weight = tf.get_variable('weight', [SYNTHESIS_WIDTH, 2], initializer=tf.zeros_initializer())
    return _dense(w, 2, f'{scope}/synthesis1', activation=False) + tf.matmul(hidden, weight)


def _discriminator(x):
    for number in range(3):
        x = _dense(x, WIDTH, f'D/layer{number}')
    return _dense(x, 1, 'D/out', activation=False)[:, 0]


def train(num_layers, steps, seed, latents, draw):
    """Trains on a CPU. Returns (w, points), [N, 2] each, that the averaged generator makes of the latents [N, 2].

    `draw`: function that gives a minibatch of latents and one of points, each time others.
    """
    tflib.select_device('cpu')
    with tf.Graph().as_default(), tflib.create_session().as_default() as session:
        tf.set_random_seed(seed)
        try:
            return _train(num_layers, steps, latents, draw)
        finally:
            session.close()


def _train(num_layers, steps, latents, draw):
    z, x = (tf.placeholder(tf.float32, [None, 2]) for _ in range(2))
    fakes, reals_out = synthesis(mapping(z, num_layers)), _discriminator(x)
    w_average = mapping(z, num_layers, 'average')
    points_average = synthesis(w_average, 'average')
    fakes_out = _discriminator(fakes)
    penalty = tf.reduce_mean(tf.reduce_sum(tf.square(tf.gradients(tf.reduce_sum(reals_out), [x])[0]), axis=1))
    loss_g = tf.reduce_mean(tf.nn.softplus(-fakes_out))
    loss_d = tf.reduce_mean(tf.nn.softplus(fakes_out) + tf.nn.softplus(-reals_out)) + R1_GAMMA / 2 * penalty
    variables = {scope: tf.get_collection(tf.GraphKeys.TRAINABLE_VARIABLES, scope + '/') for scope in ('G', 'D',
                                                                                                      'average')}
    steps_of = {scope: tf.train.AdamOptimizer(RATE, beta1=0.0, beta2=0.99).minimize(loss, var_list=variables[scope])
                for scope, loss in (('G', loss_g), ('D', loss_d))}
    with tf.control_dependencies([steps_of['G']]):
        average = tf.group(*[tf.assign(slow, fast + (slow - fast) * 0.5 ** (1 / HALF_LIFE))
                             for slow, fast in zip(variables['average'], variables['G'])])
    tflib.run(tf.global_variables_initializer())
    tflib.run([tf.assign(slow, fast) for slow, fast in zip(variables['average'], variables['G'])])
    with Progress('unwarping', steps, 'minibatches') as progress:
        for _ in range(steps):
            tflib.run(steps_of['D'], dict(zip([z, x], draw())))
            tflib.run(average, {z: draw()[0]})
            progress.add(1)
    return tuple(tflib.run([w_average, points_average], {z: latents}))
