"""The graph of a training step: what happens to the reals, and the losses of G and D on every device."""

import collections
import contextlib

import numpy as np

from data.pictures import adjust_dynamic_range
from data.records.source import check_mirroring
from dnnlib import tflib
from dnnlib.seeds import signed32
from dnnlib.submission import processes
from dnnlib.tflib import collectives, device, tf
from dnnlib.tflib.autosummary import autosummary
from dnnlib.tflib.network import sketched
from dnnlib.util import EasyDict, UserError, call_func_by_name
from training import codes
from training.layers.network_batch_norm import BATCH_STATISTICS

# Variables besides the trainable ones that a training step changes; every tower sees another part of the minibatch.
_RUNNING_MEANS = ('dlatent_avg', 'moving_mean', 'moving_variance')


def process_reals(x, lod, mirror_augment, drange_data, drange_net, shape=None, is_growing=True):
    """Turns a minibatch of the data set into what the discriminator is shown.

    Args:
        x: reals [N, C, h, w] at level floor(lod), or [N, C], in the data's own type and range.
        lod: float scalar tensor.
        mirror_augment: flip each sample left to right with probability 1/2.
        drange_data, drange_net: the ranges of values before and after.
        shape: [C, H, W] (or [C]) of what comes out, where it is known.
        is_growing: False leaves out what has no effect at level 0.

    Returns [N, C, H, W] (or [N, C]) float32: in a fade blended with its own 2x2 means by the fraction of lod, and
    upscaled (nearest) to full resolution. Source: "Progressive Growing of GANs", section 2. Raises UserError where
    samples other than images are to be mirrored.
    """
    if mirror_augment and shape is not None and len(shape) != 3:
        raise UserError(f'train.mirror_augment flips images, but samples of the data set have the shape {list(shape)}; '
                        'turn it off')
    with tf.name_scope('ProcessReals'):
        x = adjust_dynamic_range(tf.cast(x, tf.float32), drange_data, drange_net)
        if mirror_augment:
            is_flipped = tflib.rnd.random_uniform([tf.shape(x)[0]]) < 0.5
            x = tf.where(is_flipped, tf.reverse(x, axis=[3]), x)
        if is_growing:
            x = tflib.lerp(x, _repeat_pixels(_box_means(x), 2), lod - tf.floor(lod))
            x = _repeat_pixels(x, tf.cast(2 ** tf.floor(lod), tf.int32))
        if shape is not None:
            x.set_shape([None] + list(shape))
        return x


def _box_means(x):
    s = tf.shape(x)
    x = tf.reshape(x, [-1, s[1], s[2] // 2, 2, s[3] // 2, 2])
    return tf.reduce_mean(x, axis=[3, 5])


def _repeat_pixels(x, factor):
    """Nearest upscaling by reshape and tile, since resize operations have no second gradient."""
    s = tf.shape(x)
    x = tf.reshape(x, [-1, s[1], s[2], 1, s[3], 1])
    x = tf.tile(x, [1, 1, 1, factor, 1, factor])
    return tf.reshape(x, [-1, s[1], s[2] * factor, s[3] * factor])


def build_networks(training_set, G_args, D_args):
    """(G, D, Gs) on the first device. Gs starts as a copy of G. Raises UserError."""
    with tf.device(tflib.device_name(0)):
        G, D = _build_pair(training_set, G_args, D_args)
        codes.load_decoder(G, training_set)
        return G, D, G.clone('Gs')


def sketch_variables(data, G_args, D_args):
    """The variables that G, D and Gs would have: OrderedDict name -> {local name: shape}. Raises UserError.

    `data`: anything with shape, resolution, label_size and codec, as data sets have them. Needs no session and leaves
    nothing behind.
    """
    with sketched():
        shapes = [{name: tflib.shape_to_list(var.shape) for name, var in net.vars.items()}
                  for net in _build_pair(data, G_args, D_args)]
    return collections.OrderedDict(zip(('G', 'D', 'Gs'), shapes + shapes[:1]))


def _build_pair(training_set, G_args, D_args):
    G_data, D_data = codes.arguments_from_data(training_set)
    G = _build_network('G', dict(G_data, **G_args))
    D = _build_network('D', dict(D_data, **D_args))
    made = codes.trained_part(G).output_shapes[0][1:]
    for net, what, shape in ((G, 'makes', made), (D, 'takes', D.input_shapes[0][1:])):
        if list(shape) != list(training_set.shape):
            raise UserError(f'{net.name} {what} samples of {shape} but the data set has samples of '
                            f'{training_set.shape}; choose networks for such data in the sections G and D, or other '
                            'data')
    return G, D


def _build_network(name, args):
    try:
        net = tflib.Network(name, **args)
    except ValueError as err:  # what the build function thinks of its arguments
        raise UserError(f'{name} cannot be built: {err}; see the section {name} of the configuration') from err
    is_channels_first = any(op.type.startswith(('Conv2D', 'DepthwiseConv2d')) and op.get_attr('data_format') == b'NCHW'
                            for op in net.list_ops())
    if is_channels_first and not device.runs_channels_first():
        raise UserError(f'{name} convolves images [N, C, H, W], which this TensorFlow can do on a GPU only; train '
                        f"there, or give the build function {args['func_name']} a keyword data_format, the layout to "
                        'compute in, which is NHWC on a CPU')
    return net


def build_training_graph(
    G, D, Gs, training_set,
    G_opt_args, D_opt_args,     # Keywords of tflib.Optimizer.
    G_loss_args, D_loss_args,   # func_name and keywords of the losses.
    seed,                       # The run's seed.
    num_gpus,                   # Number of towers of this process.
    G_smoothing_kimg,           # Half-life of the moving average Gs; 0: Gs follows G at once.
    mirror_augment, drange_net, is_growing,
    gradient_dtype='float32',   # Type in which gradients travel between processes.
):
    """Builds everything that a training step runs.

    Returns EasyDict:
        step, minibatch, lod, G_lrate, D_lrate: placeholders to feed; `step` counts the runs of the two training ops,
            and all random numbers of a run are a function of (seed, step).
        labels: the minibatch's labels [N, label_size]. Fetching them takes a minibatch from the data set.
        reuses_fakes: whether G's step needs what D's last step was fed as `step` and fetched as `labels`.
        D_train_op, G_train_op, Gs_update_op: one session run each, in this order, for equal bits.
        sync_op: averages over towers what they track besides trainable variables; None for a single tower.
        G_opt, D_opt: the optimizers.  G_towers, D_towers: the networks of every tower, the first being G and D.
    """
    check_mirroring(codes.codec_of(training_set) is not None, mirror_augment)
    with tf.name_scope('TrainInputs'), tf.device('/cpu:0'):
        g = EasyDict(
            step=tf.placeholder(tf.int32, [], name='step'), minibatch=tf.placeholder(tf.int32, [], name='minibatch'),
            lod=tf.placeholder(tf.float32, [], name='lod'),
            G_lrate=tf.placeholder(tf.float32, [], name='G_lrate'),
            D_lrate=tf.placeholder(tf.float32, [], name='D_lrate'))
        first = processes.world().rank * num_gpus  # the number of this process's first tower among all
        minibatch_split = g.minibatch // (num_gpus * processes.world().size)
        # One fetch for all towers: the order in which several would be served is undefined.
        reals, labels = training_set.get_minibatch_tf()
        g.labels, g.reuses_fakes = labels, bool(G_loss_args.get('reuse_fakes', False))
        tower_reals, tower_labels = tf.split(reals, num_gpus), tf.split(labels, num_gpus)

    g.G_opt = tflib.Optimizer(name='TrainG', learning_rate=g.G_lrate, **G_opt_args)
    g.D_opt = tflib.Optimizer(name='TrainD', learning_rate=g.D_lrate, **D_opt_args)
    g.G_towers, g.D_towers = [G], [D]
    losses = []
    with tflib.rnd.seed_scope(tf.stack([tf.constant(signed32(seed), tf.int32), g.step])):
        for index in range(num_gpus):
            with tflib.rnd.place(first + index), tf.name_scope(f'Tower{index}'), tf.device(tflib.device_name(index)):
                if index > 0:
                    g.G_towers.append(G.clone(G.name + '_shadow'))
                    g.D_towers.append(D.clone(D.name + '_shadow'))
                tower_reals[index].set_shape(reals.shape)
                tower_labels[index].set_shape(labels.shape)
                shown = process_reals(tower_reals[index], g.lod, mirror_augment, training_set.dynamic_range,
                                      drange_net, training_set.shape, is_growing)
                of_reals = dict(reals=shown, labels=tower_labels[index])
                losses.append(_register_losses(
                    g, index, dict(G_loss_args, **(of_reals if codes.is_codec(G) else {})),
                    dict(D_loss_args, **of_reals),
                    training_set=training_set, minibatch_size=minibatch_split))

    # Gradients may not need a loss itself; its summary does.
    G_more, D_more = [[op for tower in losses for op in [tower[name].loss] + tower[name].update_ops]
                      for name in ('G', 'D')]
    g.G_train_op = tf.group(g.G_opt.apply_updates(lambda: _statistics_of_G(g, losses), gradient_dtype), *G_more)
    g.D_train_op = tf.group(g.D_opt.apply_updates(lambda: _statistics_of_D(g, losses), gradient_dtype), *D_more)
    beta = 0.0
    if G_smoothing_kimg > 0:
        beta = 0.5 ** (tf.cast(g.minibatch, tf.float32) / (G_smoothing_kimg * 1000.0))
    with tf.device(tflib.device_name(0)):
        g.Gs_update_op = Gs.setup_as_moving_average_of(G, beta=beta)
        g.sync_op = _average_running_means([g.G_towers, g.D_towers])
    return g


def _register_losses(g, index, G_loss_args, D_loss_args, **common):
    """Adds one tower's losses to the optimizers.

    Returns {'G': …, 'D': …}: per loss its tensor `loss`, and what the networks asked for (see `_watched`).
    """
    G, D = g.G_towers[index], g.D_towers[index]
    common.update(G=G, D=D)
    found = {}
    # The places of random numbers follow from this order, which older runs have.
    for name in (('D', 'G') if g.reuses_fakes else ('G', 'D')):
        opt, net, loss_args = (g.G_opt, G, G_loss_args) if name == 'G' else (g.D_opt, D, D_loss_args)
        with _watched() as found[name], tf.name_scope(opt.id + '_loss'):
            loss = autosummary(opt.id + '/loss', call_func_by_name(opt=opt, **dict(common, **loss_args)))
        opt.register_gradients(tf.reduce_mean(loss), net.trainables)
        found[name].loss = loss
    return found


@contextlib.contextmanager
def _watched():
    """Yields an EasyDict that gets what networks built within ask the training loop to do.

    update_ops: operations of TensorFlow's own collection, in no defined order. batch_statistics: entries of
    `network_batch_norm.BATCH_STATISTICS`.
    """
    keys = EasyDict(update_ops=tf.GraphKeys.UPDATE_OPS, batch_statistics=BATCH_STATISTICS)
    before = {name: len(tf.get_collection(key)) for name, key in keys.items()}
    found = EasyDict()
    yield found
    found.update((name, tf.get_collection(key)[before[name]:]) for name, key in keys.items())


def _statistics_of_D(g, losses):
    """Updates of D's moving statistics in D's own step: by reals and fakes, in the order in which its loss has them."""
    return _follow([_entries_of(D, tower['D']) for D, tower in zip(g.D_towers, losses)])


def _statistics_of_G(g, losses):
    """Those of both networks in G's step. G's follow the fakes of this step only, so once in each pair of steps."""
    entries = []
    for G, D, tower in zip(g.G_towers, g.D_towers, losses):
        # Fakes that were made for D's loss and are reused belong to G's step too.
        entries.append(_entries_of(G, tower['D' if g.reuses_fakes else 'G']))
        entries.append(_entries_of(D, tower['G']))
    return _follow(entries)


def _entries_of(net, found):
    names = {var.name for var in net.vars.values()}
    return [entry for entry in found.batch_statistics if entry[0].name in names]


def _follow(groups):
    """Operations that move moving statistics towards those of minibatches, one after another in the given order."""
    values = collections.OrderedDict()
    for var, statistic, share in [entry for group in groups for entry in group]:
        _, value = values.get(var.name, (var, tf.identity(var)))
        values[var.name] = var, value * (1.0 - share) + statistic * share
    return [tf.assign(var, value) for var, value in values.values()]


def _average_running_means(families):
    """An operation that gives every tower the mean over all towers of its running means, added in tower order.

    None where there is a single tower in all, or nothing to average.
    """
    found = [[net.vars[name] for net in towers] for towers in families for name in towers[0].vars
             if name.split('/')[-1] in _RUNNING_MEANS]
    num_towers = len(families[0]) * processes.world().size
    if num_towers == 1 or not found:
        return None
    totals = []
    for copies in found:
        totals.append(tf.identity(copies[0]))
        for var in copies[1:]:
            totals[-1] = totals[-1] + tf.identity(var)
    updates = []
    for copies, total in zip(found, collectives.sum_over(totals)):
        mean = total * np.float32(1.0 / num_towers)
        # Only after every read: otherwise a tower could see another's new value.
        with tf.control_dependencies([mean]):
            updates += [tf.assign(var, mean) for var in copies]
    return tf.group(*updates)


def lod_vars(networks):
    """The level-of-detail variables of the networks and their components, in order, each once."""
    found = [var for net in networks for name, var in net.vars.items() if name.split('/')[-1] == 'lod']
    return [var for index, var in enumerate(found) if all(var is not other for other in found[:index])]
