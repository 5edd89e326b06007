"""Per-image contrast normalisation."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("knet")
class GlobalContrastNormalization(keras.layers.Layer):
    """Gives every image zero mean and unit deviation over all its pixels and channels.

    Goodfellow et al., Deep Learning (2016), eq. 12.3, with lambda 0. A constant image becomes all zeros.

    Input and output: [batch, rows, columns, channels].
    """

    def call(self, pixels: Any) -> Any:
        """The normalised images."""
        mean = ops.mean(pixels, axis=(1, 2, 3), keepdims=True)
        deviation = ops.std(pixels, axis=(1, 2, 3), keepdims=True)
        return (pixels - mean) / ops.maximum(deviation, 1.0)  # 1.0 of 255: below it there is only noise
