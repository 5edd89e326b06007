"""Batch normalization of feature maps by TensorFlow's fused kernel, in place of Keras's operations."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf


def fuse_batch_normalization(model: keras.Model, *, momentum: float) -> None:
    """Compute every batch normalization of a model by the fused kernel; names and weights stay.

    Args:
        model: changed in place; models within it are changed too.
        momentum: of the moving statistics, 0 to 1.
    """
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            fuse_batch_normalization(layer, momentum=momentum)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum
            # keras.applications accepts no other layer, and a clone would initialize all weights again.
            if type(layer) is keras.layers.BatchNormalization:  # a subclass may compute something else
                layer.__class__ = FusedBatchNormalization


@keras.saving.register_keras_serializable("knet")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """keras.layers.BatchNormalization with one operation where Keras 3 has a dozen.

    A ResNet152 is traced in half the time, and TensorFlow fuses the operation with the convolution before it
    when it predicts. Outputs and moving statistics equal Keras's up to rounding. Other inputs than feature
    maps [batch, rows, columns, channels] are left to Keras.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Return the normalized feature maps."""
        channels_last = self.axis in (-1, len(inputs.shape) - 1)
        if self.synchronized or mask is not None or len(inputs.shape) != 4 or not channels_last:
            return super().call(inputs, training=training, mask=mask)
        learning = bool(training and self.trainable)
        channels = inputs.shape[-1]
        normalized, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32) if self.scale else tf.ones([channels]),
            offset=tf.cast(self.beta, tf.float32) if self.center else tf.zeros([channels]),
            mean=tf.zeros([0]) if learning else tf.cast(self.moving_mean, tf.float32),
            variance=tf.zeros([0]) if learning else tf.cast(self.moving_variance, tf.float32),
            epsilon=self.epsilon,
            is_training=learning,
        )
        if learning:
            count = tf.cast(tf.size(inputs) // channels, tf.float32)
            biased = variance * (tf.maximum(count - 1, 1) / count)  # the kernel's is unbiased
            for moving, current in ((self.moving_mean, mean), (self.moving_variance, biased)):
                moving.assign(moving * self.momentum + current * (1 - self.momentum))
        return normalized
