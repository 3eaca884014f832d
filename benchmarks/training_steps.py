"""Whole training steps of the real training graph, for the benchmarks that time them."""

import contextlib

ADAM = dict(beta1=0.0, beta2=0.99, epsilon=1e-8)
LOGISTIC = (dict(func_name='training.loss.G_logistic_nonsaturating'),
            dict(func_name='training.loss.D_logistic_simplegp', r1_gamma=10.0))
_CONVOLUTIONS = ('Conv2D', 'Conv2DBackpropInput', 'Conv2DBackpropFilter', 'DepthwiseConv2dNative')


class Step:
    """Runs one training step per call: D, moving average, G, in a graph and session of its own.

    A call takes `lod` (default 0), another `minibatch` and, to be told when a GPU is done, `wait`; with `options` of a
    session's run it returns the graph and the metadata of each.

    Args:
        data: the data set.
        minibatch: samples a step.
        G_args, D_args: networks, as in a configuration.
        losses: those of G and D.
        num_towers: virtual devices.
        is_growing: whether the graph can fade between levels.
        device: 'cpu' or 'gpu'.
        session_config: further settings of the session, as `tflib.create_session` takes them.
    """

    def __init__(self, data, minibatch, G_args, D_args, losses=LOGISTIC, num_towers=1, is_growing=True, device='cpu',
                 session_config=None):
        from dnnlib import tflib
        from dnnlib.tflib import tf
        from training import towers
        tflib.select_device(device, num_towers)
        self.data, self.minibatch = data, minibatch
        self.graph = tf.Graph()
        with self.graph.as_default():
            tf.set_random_seed(1)   # without which TensorFlow 2 makes no first weights where all must be repeatable
            self.session = tflib.create_session(dict({
                'device_count.CPU': num_towers, 'allow_soft_placement': True, 'gpu_options.allow_growth': True},
                **(session_config or {})))
            with self.session.as_default():
                data.configure(minibatch)
                G, D, Gs = towers.build_networks(data, G_args, D_args)
                built = towers.build_training_graph(
                    G, D, Gs, data, ADAM, ADAM, *losses, seed=1, num_gpus=num_towers, G_smoothing_kimg=10.0,
                    mirror_augment=False, drange_net=[-1, 1], is_growing=is_growing)
                tflib.init_uninitialized_vars()
                tflib.autosummary.finalize_autosummaries()
                for network in built.G_towers[1:]:
                    network.copy_vars_from(G)
                for network in built.D_towers[1:]:
                    network.copy_vars_from(D)
            self._sums = [tf.reduce_sum(next(iter(network.trainables.values()))) for network in (D, Gs)]
        self.operations = [built.D_train_op, built.Gs_update_op, built.G_train_op]
        self._inputs = built
        self.feed = {built.step: 0, built.minibatch: minibatch, built.lod: 0.0, built.G_lrate: 0.001,
                     built.D_lrate: 0.001}

    def __call__(self, lod=0.0, wait=False, minibatch=None, options=None):
        from dnnlib.tflib import tf
        minibatch, given = minibatch or self.minibatch, self._inputs
        traces = [(self.graph, tf.RunMetadata()) for _ in self.operations] if options else []
        if (lod, minibatch) != (self.feed[given.lod], self.feed[given.minibatch]):
            self.data.configure(minibatch, lod)
            self.feed.update({given.lod: lod, given.minibatch: minibatch})
        with self.graph.as_default(), self.session.as_default():
            for number, operation in enumerate(self.operations):
                self.session.run(operation, self.feed, options, traces[number][1] if traces else None)
            self.feed[given.step] += 1
            if wait:  # what is fetched from a GPU has passed through its queue
                self.session.run(self._sums)
        return traces

    def close(self):
        """Ends the session."""
        self.data.close()
        self.session.close()

    def count_macs(self):
        """Multiplications with additions of a step's convolutions and matrix products, by its graph and real shapes."""
        with self.graph.as_default():
            return sum(count_macs(operation, self.session, self.feed) for operation in self.operations)


def count_macs(operation, session, feed=None):
    """Multiplications with additions of the convolutions and matrix products that an operation of the graph needs."""
    from dnnlib.tflib import tf
    found = [op for op in _reachable(operation) if op.type in _CONVOLUTIONS + ('MatMul',)]
    shapes = [(tf.shape(_result(op)), tf.shape(_weights(op))) for op in found]
    values = session.run(shapes, feed) if shapes else []
    return sum(_macs(op, *value) for op, value in zip(found, values))


def _reachable(operation):
    """All operations that one needs, itself included."""
    found, todo = {operation.name: operation}, [operation]
    while todo:
        op = todo.pop()
        for other in [tensor.op for tensor in op.inputs] + list(op.control_inputs):
            if other.name not in found:
                found[other.name] = other
                todo.append(other)
    return list(found.values())


def _result(op):
    """The tensor at each of whose elements a kernel is applied: a convolution's result, or the gradient by it."""
    return op.inputs[2] if op.type.startswith('Conv2DBackprop') else op.outputs[0]


def _weights(op):
    return op.outputs[0] if op.type == 'Conv2DBackpropFilter' else op.inputs[0] if op.type == 'MatMul' else op.inputs[1]


def _macs(op, result, weights):
    count = 1
    for length in result:
        count *= int(length)
    if op.type == 'MatMul':
        return count * int(weights[0 if op.get_attr('transpose_a') else 1])
    height, width, channels, _ = [int(length) for length in weights]
    return count * height * width * (1 if op.type.startswith('Depthwise') else channels)


def build_step(resolution, minibatch, num_towers=1, device='cpu', session_config=None, **network_args):
    """A `Step` of StyleGAN on images, D with R1 and G with style mixing, as (function, function that closes it).

    Networks are of full size unless `network_args` says otherwise.
    """
    from data.records.dataset import SyntheticDataset
    step = Step(SyntheticDataset(resolution=resolution, num_images=256), minibatch,
                dict(network_args, func_name='training.networks_stylegan.G_style'),
                dict(network_args, func_name='training.networks_stylegan.D_basic'), num_towers=num_towers,
                device=device, session_config=session_config)
    return step, step.close


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
