"""An optimizer over towers: gradients are summed over devices, checked for NaN and Inf, and applied everywhere.

Equal bits on a CPU need care in three places, all of them here: gradients meet in sums of two in a fixed order,
nothing is applied before every gradient exists, and a skipped update leaves every piece of state alone.
"""

from collections import OrderedDict

from dnnlib import util
from dnnlib.submission import processes
from dnnlib.tflib import autosummary, collectives, tfutil
from dnnlib.tflib.engine import tf


class Optimizer:
    """Wraps a TensorFlow optimizer for several devices, with loss scaling for half precision.

    Args:
        name: name of the optimizer and prefix of its summaries.
        tf_optimizer: class of the optimizer, or its name; a text
        learning_rate: number or tensor.
        use_loss_scaling: multiply losses by a power of two that adapts: up a little after every good update, down
            by a factor of two after an update with NaN or Inf.
        loss_scaling_init: log2 of the initial factor; -100 to 100
        loss_scaling_inc: what is added to it after a good update; 0 to 100
        loss_scaling_dec: what is taken from it after a bad one; 0 to 100
        epsilon_after_correction: of Adam only: add epsilon to the root of the corrected second moment, as the Adam
            paper's Algorithm 1 and other libraries do; TensorFlow's own adds it before the correction.
        **kwargs: further arguments of the optimizer class.

    Raises UserError if `epsilon_after_correction` is asked of another optimizer.
    """

    def __init__(self, name='Train', tf_optimizer='tf.train.AdamOptimizer', learning_rate=0.001,
                 use_loss_scaling=False, loss_scaling_init=64.0, loss_scaling_inc=0.0005, loss_scaling_dec=1.0,
                 epsilon_after_correction=False, **kwargs):
        self.name = name
        self.id = name.replace('/', '.')
        self.learning_rate = tf.convert_to_tensor(learning_rate, dtype=tf.float32)
        self.use_loss_scaling = use_loss_scaling
        self.loss_scaling_init = loss_scaling_init
        self.loss_scaling_inc = loss_scaling_inc
        self.loss_scaling_dec = loss_scaling_dec
        if isinstance(tf_optimizer, str):
            tf_optimizer = util.get_obj_by_name(tf_optimizer)
        if epsilon_after_correction:
            if tf_optimizer is not tf.train.AdamOptimizer:
                raise util.UserError(f"optimizer '{name}': epsilon_after_correction is an option of "
                                     'tf.train.AdamOptimizer; leave one of the two out')
            tf_optimizer = _AdamOfThePaper
        self._optimizer_class = tf_optimizer
        self._optimizer_kwargs = kwargs
        self._towers = OrderedDict()  # device -> dict(vars, list of gradient lists, optimizer)
        self._updates_applied = False
        with tf.name_scope(None):
            self.scope = tf.get_default_graph().unique_name(self.id)
        with tfutil.absolute_variable_scope(self.scope), tf.control_dependencies(None), tf.device('/cpu:0'):
            self._skipped = tf.get_variable('skipped_updates', shape=[], trainable=False,
                                            initializer=tf.zeros_initializer())
            self._skipped_in_row = tf.get_variable('skipped_in_row', shape=[], trainable=False,
                                                   initializer=tf.zeros_initializer())
            self._loss_scaling = None
            if use_loss_scaling:
                self._loss_scaling = tf.get_variable('loss_scaling_log2', shape=[], trainable=False,
                                                     initializer=tf.constant_initializer(float(loss_scaling_init)))

    # ---- Loss scaling

    def get_loss_scaling_var(self, device=None):
        """The variable that holds log2 of the scaling factor, one for all devices; None when it is off."""
        return self._loss_scaling

    def apply_loss_scaling(self, value):
        """`value` times the current factor."""
        return value * tfutil.exp2(self._loss_scaling) if self.use_loss_scaling else value

    def undo_loss_scaling(self, value):
        """`value` divided by the current factor."""
        return value * tfutil.exp2(-self._loss_scaling) if self.use_loss_scaling else value

    # ---- Building

    def register_gradients(self, loss, trainable_vars):
        """Adds a loss; its gradients count towards the next update of these variables.

        May be called several times, for several devices and several losses per device. The update uses the mean of
        all registered gradients. The device is that of the variables.

        Args:
            loss: scalar tensor.
            trainable_vars: list or dict of variables, all on one device, in equal order for every device.

        Raises RuntimeError after `apply_updates`, ValueError for variables of several devices or other ones than
        before.
        """
        if self._updates_applied:
            raise RuntimeError(f"optimizer '{self.name}': register gradients before apply_updates()")
        variables = list(trainable_vars.values() if isinstance(trainable_vars, dict) else trainable_vars)
        devices = {var.device for var in variables}
        if len(devices) != 1:
            raise ValueError(f"optimizer '{self.name}': the variables lie on several devices: {sorted(devices)}")
        tower = self._towers.setdefault(devices.pop(), {'vars': variables, 'grads': []})
        if [var.name for var in tower['vars']] != [var.name for var in variables]:
            raise ValueError(f"optimizer '{self.name}': the variables of one device must be the same every time")
        with tf.name_scope(self.id + '_grad'):
            # TREE adds gradients in pairs, in graph order; the default n-ary sum has no fixed order of summation.
            grads = tf.gradients(self.apply_loss_scaling(tf.cast(loss, tf.float32)), variables,
                                 aggregation_method=tf.AggregationMethod.EXPERIMENTAL_TREE)
        tower['grads'].append([tf.zeros_like(var) if grad is None else grad for var, grad in zip(variables, grads)])

    def apply_updates(self, and_also=None, gradient_dtype='float32'):
        """An operation that updates the variables of all devices with the mean gradient, or of none if any value
        of it is NaN or Inf.

        Args:
            and_also: function without arguments that makes a list of further operations; they run after every gradient
                exists, and are left out with an update that is.
            gradient_dtype: as what gradients travel between processes, see `collectives.sum_over`.

        Raises RuntimeError the second time, and where no gradients were registered.
        """
        if self._updates_applied or not self._towers:
            raise RuntimeError(f"optimizer '{self.name}': apply_updates() runs once, after register_gradients()")
        self._updates_applied = True
        towers = list(self._towers.items())
        num_here = sum(len(tower['grads']) for _, tower in towers)
        num_grads = num_here * processes.world().size

        with tfutil.absolute_name_scope(self.scope):
            mean_grads = []
            with tf.device(towers[0][0]):
                factor = self.undo_loss_scaling(tf.constant(1.0 / num_grads, tf.float32))
                totals = []
                for parts in zip(*[grads for _, tower in towers for grads in tower['grads']]):
                    totals.append(tf.cast(_dense(parts[0]), tf.float32))
                    for part in parts[1:]:
                        totals[-1] = totals[-1] + tf.cast(_dense(part), tf.float32)
                for total in collectives.sum_over(totals, gradient_dtype):
                    mean_grads.append(total if num_grads == 1 and not self.use_loss_scaling else total * factor)
                # A NaN or Inf anywhere makes this sum non-finite; every gradient is needed for it, so that the
                # conditionals below start when all of them exist and no network reads its variables any more.
                is_finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(grad)) for grad in mean_grads])
            ops = [tf.cond(is_finite, lambda device=device, tower=tower: self._apply(device, tower, mean_grads),
                           tf.no_op) for device, tower in towers]
            if and_also is not None:
                ops.append(tf.cond(is_finite, lambda: tf.group(*and_also()), tf.no_op))
            with tf.control_dependencies(ops):
                training_op = tf.group(self._count(is_finite), name='TrainingOp')
        if tf.get_default_session() is not None:  # callers of the original need initialize nothing of an optimizer's
            tfutil.init_vars(self.state_vars().values())
        return training_op

    def _apply(self, device, tower, grads):
        with tf.device(device):
            tower['optimizer'] = self._optimizer_class(learning_rate=self.learning_rate, name=self.id,
                                                       **self._optimizer_kwargs)
            return tower['optimizer'].apply_gradients(list(zip(grads, tower['vars'])))

    def _count(self, is_finite):
        """Books a good or a skipped update: counters, loss scaling, summaries."""
        bad = 1.0 - tf.cast(is_finite, tf.float32)
        in_row = tf.assign(self._skipped_in_row, (self._skipped_in_row + bad) * bad)
        ops = [tf.assign_add(self._skipped, bad), in_row]
        if self.use_loss_scaling:
            step = self.loss_scaling_inc * (1.0 - bad) - self.loss_scaling_dec * bad
            scaling = tf.assign_add(self._loss_scaling, step)
            ops.append(autosummary.autosummary(self.id + '/loss_scaling_log2', scaling))
        ops.append(autosummary.autosummary(self.id + '/learning_rate', self.learning_rate))
        ops.append(autosummary.autosummary(self.id + '/overflow_frequency', bad))
        return tf.group(*ops)

    # ---- State

    def _optimizer_vars(self):
        """[(stable key, variable)] of all devices' TensorFlow optimizers; the key ends in the device's number."""
        result = []
        for index, tower in enumerate(self._towers.values()):
            optimizer = tower['optimizer']
            slots = set()
            for slot in optimizer.get_slot_names():
                for number, var in enumerate(tower['vars']):
                    slot_var = optimizer.get_slot(var, slot)
                    slots.add(slot_var.name)
                    result.append((f'{slot}/{number:03d}/{index}', slot_var))
            for var in optimizer.variables():
                if var.name not in slots:
                    result.append((f'{_plain_name(var.name)}/{index}', var))
        return result

    def reset_optimizer_state(self):
        """Clears moments and step counts on every device; loss scaling and counters stay."""
        tfutil.init_vars(var for _, var in self._optimizer_vars())

    def state_vars(self):
        """Everything the optimizer remembers, for checkpoints.

        Returns:
            OrderedDict, stable key -> variable. Keys do not depend on the engine. They end in the tower's number,
            except for what exists once: 'skipped_updates', 'skipped_in_row', 'loss_scaling_log2'.
        """
        state = OrderedDict(self._optimizer_vars())
        state['skipped_updates'] = self._skipped
        state['skipped_in_row'] = self._skipped_in_row
        if self.use_loss_scaling:
            state['loss_scaling_log2'] = self._loss_scaling
        return state

    @property
    def skipped_updates_var(self):
        """Variable: number of updates skipped so far because of NaN or Inf."""
        return self._skipped

    @property
    def skipped_in_row_var(self):
        """Variable: number of updates skipped since the last good one."""
        return self._skipped_in_row


class _AdamOfThePaper(tf.train.AdamOptimizer):
    """Adam with steps of rate * m' / (sqrt(v') + epsilon), where m' and v' are the bias-corrected moments.

    TensorFlow's form, rate' * m / (sqrt(v) + epsilon) with the corrections in rate', is the same once its epsilon is
    multiplied by v's correction. Source: Kingma and Ba 2015, Algorithm 1.
    """

    def _prepare(self):
        super()._prepare()
        _, beta2_power = self._get_beta_accumulators()
        self._epsilon_t *= tf.sqrt(1.0 - beta2_power)


def _dense(grad):
    return tf.convert_to_tensor(grad) if isinstance(grad, tf.IndexedSlices) else grad


def _plain_name(variable_name):
    """'beta1_power' for 'TrainG/beta1_power_1:0': the last part without the number that makes it unique."""
    name = variable_name.split(':')[0].split('/')[-1]
    stem, _, number = name.rpartition('_')
    return stem if number.isdecimal() and stem else name
