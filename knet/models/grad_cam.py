"""Grad-CAM heat maps on the last feature map of a hybrid model."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from knet.models.hybrid import HEAD, LOGITS


class GradCam:
    """Grad-CAM (Selvaraju et al., ICCV 2017, equations 1 and 2) of a class's logit.

    Of the logit, because the gradient of the probability vanishes at confident predictions.
    """

    def __init__(self, model: keras.Model) -> None:
        """Share the head of a model.

        Args:
            model: from `build_hybrid_model`.
        """
        head = model.get_layer(HEAD)
        self._logits = keras.Model(head.input, head.get_layer(LOGITS).output)

    def __call__(self, feature_map: Any, label: Any) -> Any:
        """Compute the heat maps of a batch.

        Args:
            feature_map: float32 [batch, rows, columns, channels], the backbone's output.
            label: int32 [batch], the class to explain.

        Returns:
            float32 [batch, rows, columns], each map scaled to a maximum of 1; all zero if no location
            increases the logit.
        """
        with tf.GradientTape() as tape:
            tape.watch(feature_map)
            logits = tf.gather(self._logits(feature_map, training=False), label, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(logits, feature_map), axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * feature_map, axis=-1))
        return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True))
