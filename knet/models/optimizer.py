"""Optimization: SGD (as in the paper) and AdamW with block-wise rates, decay, accumulation, losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("knet")
class BlockSGD(keras.optimizers.SGD):
    """SGD with momentum and a learning rate multiplier per layer.

    Equation 3 of Dsouza & Ansari (2022): V <- mu V - rate alpha_j dC/dW_j; W <- W + V.

    Example:
        BlockSGD(0.001, momentum=0.9, multipliers={"block1_conv1": 0.1})
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        momentum: Any = 0.9,
        *,
        multipliers: Mapping[str, float] | None = None,
        name: str = "block_sgd",
        **kwargs: Any,
    ) -> None:
        """Create the optimizer.

        Args:
            learning_rate: float, or a LearningRateSchedule.
            momentum: mu, a float or a tf.Variable; a variable must not be 0 yet, since Keras then creates no
                velocities.
            multipliers: alpha_j by name of the layer; 1 for layers that are not named.
            name: of the optimizer.
            **kwargs: other arguments of `keras.optimizers.SGD`.
        """
        initial = momentum if isinstance(momentum, float) else float(momentum)
        super().__init__(learning_rate, momentum=initial, name=name, **kwargs)
        self._momentum = momentum
        self._multipliers = dict(multipliers or {})
        self._factors: list[float] = []

    def build(self, variables: list[Any]) -> None:
        """Create the velocities, and look up alpha_j of each variable."""
        super().build(variables)
        self._factors = [_factor(variable, self._multipliers) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        factor = self._factors[index]
        gradient = gradient if factor == 1 else gradient * factor
        if not self.momentums:
            super().update_step(gradient, variable, learning_rate)
            return
        # One operation instead of Keras's twelve, to the same bits: the step of a ResNet152 is traced faster.
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable.handle,
            accum=self.momentums[index].value.handle,
            lr=tf.cast(learning_rate, variable.dtype),
            grad=tf.cast(gradient, variable.dtype),
            momentum=tf.cast(self._momentum, variable.dtype),
            use_nesterov=self.nesterov,
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "multipliers": dict(self._multipliers)}


def _factor(variable: Any, multipliers: Mapping[str, float]) -> float:
    """Return the learning rate multiplier of a variable by that of its layer."""
    layers = variable.path.split("/")  # the variables of an LSTM's cell are below the layer's name
    return next((multipliers[name] for name in layers if name in multipliers), 1.0)


@keras.saving.register_keras_serializable("knet")
class BlockAdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter, 2019) with a learning rate multiplier per layer.

    The multiplier scales step and weight decay: a gradient's scale has no effect on Adam. Moments are
    corrected for the updates of each variable, not of the optimizer: a block that is unfrozen late starts
    with zero moments, and would otherwise get steps several times too long.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: Any = 0.004,
        *,
        multipliers: Mapping[str, float] | None = None,
        name: str = "block_adamw",
        **kwargs: Any,
    ) -> None:
        """Create the optimizer.

        Args:
            learning_rate: float, or a LearningRateSchedule.
            weight_decay: a float or a tf.Variable.
            multipliers: by name of the layer; 1 for layers that are not named.
            name: of the optimizer.
            **kwargs: other arguments of `keras.optimizers.AdamW`; no `amsgrad`.
        """
        super().__init__(learning_rate, weight_decay=float(weight_decay), name=name, **kwargs)
        self._decay = weight_decay
        self._multipliers = dict(multipliers or {})
        self._factors: list[float] = []
        self._updates: list[Any] = []

    def build(self, variables: list[Any]) -> None:
        """Create moments and counts of updates, and look up the multiplier of each variable."""
        if self.built:
            return
        super().build(variables)
        self._factors = [_factor(variable, self._multipliers) for variable in variables]
        self._updates = [self.add_variable((), dtype="int64", name="updates") for _ in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        index = self._get_variable_index(variable)
        dtype = variable.dtype
        rate = tf.cast(learning_rate, dtype) * self._factors[index]
        self.assign_sub(variable, variable * tf.cast(self._decay, dtype) * rate)
        self.assign_add(self._updates[index], 1)
        updates = tf.cast(self._updates[index].value, dtype)
        # One operation, as in BlockSGD.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.pow(tf.cast(self.beta_1, dtype), updates),
            beta2_power=tf.pow(tf.cast(self.beta_2, dtype), updates),
            lr=rate,
            beta1=tf.cast(self.beta_1, dtype),
            beta2=tf.cast(self.beta_2, dtype),
            epsilon=tf.cast(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "multipliers": dict(self._multipliers)}

    def _apply_weight_decay(self, variables: Any) -> None:
        """Leave weight decay to `update_step`, which knows the multiplier."""


@keras.saving.register_keras_serializable("knet")
class StaircaseDecay(keras.optimizers.schedules.LearningRateSchedule):
    """Exponential decay in steps of an epoch.

    Equation 2 of Dsouza & Ansari (2022): rate * gamma ^ floor(e * N / |m|), with e the updates so far, N the
    images of a batch and |m| those of an epoch.
    """

    # Not keras.optimizers.schedules.ExponentialDecay(rate, |m| / N, gamma, staircase=True): its floor is of a
    # float32 quotient, which rounding can put below a whole number. With N = 3 and |m| = 52 the rate of
    # update 260 is still that of the epoch before. Integers are exact.

    def __init__(self, *, rate: Any, gamma: Any, batch: Any, images: Any) -> None:
        """Create the schedule; every argument is a number or a tf.Variable.

        Args:
            rate: initial learning rate.
            gamma: factor of each step, above 0 and at most 1.
            batch: N, int.
            images: |m|, int.
        """
        super().__init__()
        self.rate = rate
        self.gamma = gamma
        self.batch = batch
        self.images = images

    def __call__(self, step: Any) -> Any:
        """Return the learning rate of an update.

        Args:
            step: updates so far, e.
        """
        epoch = ops.floor_divide(ops.cast(step, "int64") * self.batch, self.images)
        return self.rate * ops.power(self.gamma, ops.cast(epoch, "float32"))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {"rate": self.rate, "gamma": self.gamma, "batch": self.batch, "images": self.images}


@keras.saving.register_keras_serializable("knet")
class AccumulatingModel(keras.Model):
    """Model that accumulates gradients over the micro-batches of a batch, and updates once per batch.

    The gradient is that of the mean loss over the whole batch on all replicas, for any micro-batch size;
    `optimizer.iterations`, and so a schedule, counts updates. A trainable batch normalization, however, sees
    one micro-batch of one replica at a time.

    Attributes:
        micro_batch: images on a replica at once; None: its part of the batch.
    """

    # Not `gradient_accumulation_steps` of Keras's optimizers: it averages a fixed number of micro-batches,
    # whatever their sizes, even across the end of an epoch (with 22 images, batches of 8 and micro-batches of
    # 4 the weights are 0.05 apart after three epochs), its schedules count micro-batches, and it fails under
    # MirroredStrategy (merge_call).
    micro_batch: int | None = None

    def train_step(self, data: Any) -> dict[str, Any]:
        """Update the weights once.

        Args:
            data: (x, y) or (x, y, sample_weight), each [batch, ...].
        """
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        count = tf.shape(x)[0]
        weight = tf.ones([count]) if sample_weight is None else tf.cast(sample_weight, tf.float32)
        replica = tf.distribute.get_replica_context()
        total = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(count, tf.float32))
        variables = self.trainable_variables
        size = tf.maximum(count, 1) if self.micro_batch is None else tf.constant(self.micro_batch)

        def gradients_from(start: Any) -> list[Any]:
            index = start + tf.range(size)
            mask = tf.cast(index < count, tf.float32)
            # The last micro-batch is filled up from the start of the batch, with weight 0, so that batch
            # normalization sees no blank images.
            x_part, y_part, weight_part = (_gather(tensor, index, count) for tensor in (x, y, weight))
            return self._gradients(x_part, y_part, weight_part, mask, total, variables)

        if self.micro_batch is None:  # no loop: replicas cannot synchronize normalization within one
            gradients = gradients_from(tf.constant(0))
        else:
            _, gradients = tf.while_loop(
                lambda start, sums: start < count,
                lambda start, sums: (
                    start + size,
                    [a + b for a, b in zip(sums, gradients_from(start), strict=True)],
                ),
                (tf.constant(0), [tf.zeros(variable.shape) for variable in variables]),
            )
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self.get_metrics_result()

    def _gradients(
        self, x: Any, y: Any, weight: Any, mask: Any, total: Any, variables: list[Any]
    ) -> list[Any]:
        """Return a micro-batch's part of the batch's gradient, and update the metrics.

        Args:
            x: [micro-batch, ...].
            y: [micro-batch].
            weight: sample weights [micro-batch].
            mask: float32 [micro-batch], 0 for images that fill up the micro-batch.
            total: images of the batch on all replicas.
            variables: to differentiate by.
        """
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            mean = self.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weight * mask)
            # Keras's mean divides by the images of this call and by the replicas.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            summed = mean * float(replicas) * tf.cast(tf.size(mask), tf.float32)
            loss = self.optimizer.scale_loss(summed / total)
        images = tf.reduce_sum(mask)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(tf.math.divide_no_nan(summed, images), sample_weight=images)
        self.compute_metrics(x, y, predicted, sample_weight=mask)
        return tape.gradient(loss, variables)


def _gather(tensor: Any, index: Any, count: Any) -> Any:
    """Return rows of a tensor, modulo `count`; zeros if it has no rows, as a replica's part may."""
    return tf.cond(
        count > 0,
        lambda: tf.gather(tensor, index % count),
        lambda: tf.zeros([tf.size(index), *tensor.shape[1:]], tensor.dtype),
    )


@keras.saving.register_keras_serializable("knet")
class SmoothedCrossentropy(keras.losses.CategoricalCrossentropy):
    """Keras's cross-entropy with label smoothing, for integer labels.

    Equation 1 of Dsouza & Ansari (2022), the mean of -log p(label); smoothing: Szegedy et al. (2016),
    section 7. Keras's SparseCategoricalCrossentropy has no label smoothing.
    """

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image, [batch].

        Args:
            y_true: labels, int [batch] or [batch, 1].
            y_pred: probabilities, float [batch, classes].
        """
        return super().call(_one_hot(y_true, y_pred), y_pred)


@keras.saving.register_keras_serializable("knet")
class FocalCrossentropy(keras.losses.CategoricalFocalCrossentropy):
    """Keras's focal loss with label smoothing, for integer labels.

    Lin et al. (2017), equation 4: the mean of -(1 - p(label))^gamma log p(label); class weights take the part
    of their alpha.
    """

    def __init__(self, *, alpha: float = 1.0, **kwargs: Any) -> None:
        """Create the loss.

        Args:
            alpha: factor of the whole loss.
            **kwargs: other arguments of `keras.losses.CategoricalFocalCrossentropy`.
        """
        super().__init__(alpha=alpha, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the loss of each image, as `SmoothedCrossentropy.call`."""
        return super().call(_one_hot(y_true, y_pred), y_pred)


def _one_hot(labels: Any, predicted: Any) -> Any:
    labels = ops.cast(ops.reshape(labels, (-1,)), "int32")
    return ops.one_hot(labels, predicted.shape[-1], dtype=predicted.dtype)
