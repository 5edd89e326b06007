"""A model whose training step takes a large batch in pieces that fit into memory."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


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
