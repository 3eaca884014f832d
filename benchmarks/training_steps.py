"""Whole training steps of the real training graph, for the benchmarks that time them."""

import contextlib

ADAM = dict(beta1=0.0, beta2=0.99, epsilon=1e-8)


def build_step(resolution, minibatch, num_towers=1, device='cpu', session_config=None, **network_args):
    """A function that runs one step: D with R1, moving average, G with style mixing.

    Builds into a graph and session of its own; networks are of full size unless `network_args` says otherwise. The
    function takes `lod` (default 0), another `minibatch` and, to be told when a GPU is done, `wait`; with `options` of
    a session's run it returns the graph and the metadata of each. Returns (function, function that closes the session).
    """
    from data.records.dataset import SyntheticDataset
    from dnnlib import tflib
    from dnnlib.tflib import tf
    from training import towers
    tflib.select_device(device, num_towers)
    graph = tf.Graph()
    with graph.as_default():
        session = tflib.create_session(dict({'device_count.CPU': num_towers, 'allow_soft_placement': True,
                                             'gpu_options.allow_growth': True}, **(session_config or {})))
        with session.as_default():
            data = SyntheticDataset(resolution=resolution, num_images=256)
            data.configure(minibatch)
            G, D, Gs = towers.build_networks(
                data, dict(network_args, func_name='training.networks_stylegan.G_style'),
                dict(network_args, func_name='training.networks_stylegan.D_basic'))
            built = towers.build_training_graph(
                G, D, Gs, data, ADAM, ADAM, dict(func_name='training.loss.G_logistic_nonsaturating'),
                dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10.0), seed=1, num_gpus=num_towers,
                G_smoothing_kimg=10.0, mirror_augment=False, drange_net=[-1, 1], is_growing=True)
            tflib.init_uninitialized_vars()
            tflib.autosummary.finalize_autosummaries()
            for network in built.G_towers[1:]:
                network.copy_vars_from(G)
            for network in built.D_towers[1:]:
                network.copy_vars_from(D)
    operations = [built.D_train_op, built.Gs_update_op, built.G_train_op]
    feed = {built.step: 0, built.minibatch: minibatch, built.lod: 0.0, built.G_lrate: 0.001, built.D_lrate: 0.001}

    with graph.as_default():
        sums = [tf.reduce_sum(next(iter(network.trainables.values()))) for network in (D, Gs)]

    def step(lod=0.0, wait=False, minibatch=minibatch, options=None):
        traces = [(graph, tf.RunMetadata()) for _ in operations] if options else []
        if (lod, minibatch) != (feed[built.lod], feed[built.minibatch]):
            data.configure(minibatch, lod)
            feed.update({built.lod: lod, built.minibatch: minibatch})
        with graph.as_default(), session.as_default():
            for number, operation in enumerate(operations):
                session.run(operation, feed, options, traces[number][1] if traces else None)
            feed[built.step] += 1
            if wait:  # what is fetched from a GPU has passed through its queue
                session.run(sums)
        return traces

    def close():
        data.close()
        session.close()

    return step, close


@contextlib.contextmanager
def steps(*settings):
    """Several of `build_step`'s functions, from dicts of its arguments; sessions are closed afterwards."""
    with contextlib.ExitStack() as stack:
        functions = []
        for setting in settings:
            step, close = build_step(**setting)
            stack.callback(close)
            functions.append(step)
        yield functions
