"""Where a model looks: Grad-CAM on the last feature map."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from knet.models.hybrid import HEAD, LOGITS


class GradCam:
    """Grad-CAM (Selvaraju et al., ICCV 2017) of one class of a hybrid.

    It explains the logit: the gradient of a probability vanishes where the model is sure.
    """

    def __init__(self, model: keras.Model) -> None:
        """Takes a model of `build_hybrid_model`, whose weights are shared."""
        head = model.get_layer(HEAD)
        self._logits = keras.Model(head.input, head.get_layer(LOGITS).output)

    def __call__(self, feature_map: Any, called: Any) -> Any:
        """The heat maps of a batch.

        Args:
            feature_map: float32 [batch, rows, columns, channels], the backbone's output.
            called: int32 [batch], the class that is explained.

        Returns:
            float32 [batch, rows, columns], from 0 to 1, which is each map's largest value; all zero where
            nothing speaks for the class.
        """
        with tf.GradientTape() as tape:
            tape.watch(feature_map)
            logits = tf.gather(self._logits(feature_map, training=False), called, batch_dims=1)
        weights = tf.reduce_mean(tape.gradient(logits, feature_map), axis=(1, 2), keepdims=True)
        heat = tf.nn.relu(tf.reduce_sum(weights * feature_map, axis=-1))
        return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True))
