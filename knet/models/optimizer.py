"""Gradient descent with momentum in which every block may have a learning rate of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("knet")
class BlockSGD(keras.optimizers.SGD):
    """The paper's eq (3): V <- mu V - rate alpha_j dC/dW_j; W <- W + V.

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
        """Takes alpha_j by the name of a layer.

        Args:
            learning_rate: the rate, or its schedule.
            momentum: mu, or a tf.Variable of it that is not 0 yet.
            multipliers: alpha_j of the layers for which it is not 1.
            name: of the optimiser.
            **kwargs: of `keras.optimizers.SGD`.
        """
        number = momentum if isinstance(momentum, float) else float(momentum)
        super().__init__(learning_rate, momentum=number, name=name, **kwargs)
        self._mu = momentum
        self._multipliers = dict(multipliers or {})
        self._factors: list[float] = []

    def build(self, variables: list[Any]) -> None:
        """Looks up alpha_j of each variable."""
        super().build(variables)
        self._factors = [self._factor(variable) for variable in variables]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable."""
        index = self._get_variable_index(variable)
        factor = self._factors[index]
        gradient = gradient if factor == 1 else gradient * factor
        if isinstance(self._mu, float):
            super().update_step(gradient, variable, learning_rate)
            return
        velocity = self.momentums[index]
        mu, rate = (ops.cast(value, variable.dtype) for value in (self._mu, learning_rate))
        self.assign(velocity, velocity * mu - ops.cast(gradient, variable.dtype) * rate)
        self.assign_add(variable, velocity)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "multipliers": dict(self._multipliers)}

    def _factor(self, variable: Any) -> float:
        layers = variable.path.split("/")  # a cell's variables are its layer's too
        return next((self._multipliers[name] for name in layers if name in self._multipliers), 1.0)


@keras.saving.register_keras_serializable("knet")
class StaircaseDecay(keras.optimizers.schedules.LearningRateSchedule):
    """The paper's eq (2): rate * gamma ^ floor(e * N / |m|), with e the updates so far.

    With N the images of a batch and |m| those of an epoch the exponent is the epoch.
    """

    def __init__(self, *, rate: Any, gamma: Any, batch: Any, images: Any) -> None:
        """Takes the equation's constants, numbers or tf.Variables.

        Args:
            rate: alpha, the learning rate at the start.
            gamma: factor of each step.
            batch: N.
            images: |m|.
        """
        super().__init__()
        self.rate = rate
        self.gamma = gamma
        self.batch = batch
        self.images = images

    def __call__(self, step: Any) -> Any:
        """The learning rate of an update."""
        stairs = ops.floor_divide(ops.cast(step, "int64") * self.batch, self.images)
        return self.rate * ops.power(self.gamma, ops.cast(stairs, "float32"))

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {"rate": self.rate, "gamma": self.gamma, "batch": self.batch, "images": self.images}


@keras.saving.register_keras_serializable("knet")
class AccumulatingModel(keras.Model):
    """Sums the gradients over a batch's micro-batches, and updates the weights once a batch.

    The gradient is that of the mean loss over the whole batch, over all replicas, whichever way it was
    divided. So iterations count updates, and with it a schedule does. What is not divided alike is batch
    normalisation: where it learns, it sees a micro-batch of one replica at a time.

    Attributes:
        micro_batch: images that a replica takes at once; None takes its part of the batch whole.
    """

    micro_batch: int | None = None

    def train_step(self, data: Any) -> dict[str, Any]:
        """One update from (x, y) or (x, y, sample_weight), each [batch, ...]."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        count = tf.shape(x)[0]
        weight = tf.ones([count]) if sample_weight is None else tf.cast(sample_weight, tf.float32)
        replica = tf.distribute.get_replica_context()
        total = replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.cast(count, tf.float32))
        variables = self.trainable_variables
        size = tf.maximum(count, 1) if self.micro_batch is None else tf.constant(self.micro_batch)

        def gradients_from(start: Any) -> list[Any]:
            place = start + tf.range(size)
            genuine = tf.cast(place < count, tf.float32)
            # Beyond the end the batch begins anew, with no weight: normalisation then sees no blank images.
            x_part, y_part, weight_part = (_take(whole, place, count) for whole in (x, y, weight))
            return self._gradients(x_part, y_part, weight_part, genuine, total, variables)

        if self.micro_batch is None:  # no loop, in which replicas cannot meet to synchronise normalisation
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
        self, x: Any, y: Any, weight: Any, genuine: Any, total: Any, variables: list[Any]
    ) -> list[Any]:
        """A micro-batch's share of the batch's gradient; updates the metrics too."""
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            mean = self.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weight * genuine)
            # Keras divides by the images that it sees, and by the replicas.
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            summed = mean * float(replicas) * tf.cast(tf.size(genuine), tf.float32)
            loss = self.optimizer.scale_loss(summed / total)
        images = tf.reduce_sum(genuine)
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(tf.math.divide_no_nan(summed, images), sample_weight=images)
        self.compute_metrics(x, y, predicted, sample_weight=genuine)
        return tape.gradient(loss, variables)


def _take(whole: Any, place: Any, count: Any) -> Any:
    """Rows of a tensor, counted around its end; zeros where it has none, as a replica's part may."""
    return tf.cond(
        count > 0,
        lambda: tf.gather(whole, place % count),
        lambda: tf.zeros([tf.size(place), *whole.shape[1:]], whole.dtype),
    )


@keras.saving.register_keras_serializable("knet")
class SmoothedCrossentropy(keras.losses.Loss):
    """The paper's eq (1), the mean of -log p(label); smoothing as in Szegedy et al. (2016), section 7.

    Takes labels [batch] and probabilities [batch, classes].
    """

    def __init__(self, *, smoothing: float = 0.0, name: str = "crossentropy", **kwargs: Any) -> None:
        """Names the share of each label that is spread evenly over all classes."""
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, [batch]."""
        classes = y_pred.shape[-1]
        labels = ops.one_hot(ops.cast(ops.reshape(y_true, (-1,)), "int32"), classes, dtype=y_pred.dtype)
        return ops.categorical_crossentropy(labels * (1 - self.smoothing) + self.smoothing / classes, y_pred)

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "smoothing": self.smoothing}
