"""Reads a feature map as a sequence."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("knet")
class RasterTokens(keras.layers.Layer):
    """Reads a feature map row by row as tokens, right-padded to a length common to all candidates.

    The mask is explicit because a token of a ReLU network may be all zeros and still be one.

    Input: [batch, rows, columns, channels]. Output: tokens [batch, length, channels], zeros beyond
    rows * columns, and a boolean mask [batch, length], true for genuine tokens.
    """

    def __init__(self, *, length: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.length = length

    def call(self, feature_map: Any) -> tuple[Any, Any]:
        """Tokens and mask."""
        _, rows, columns, channels = feature_map.shape
        tokens = ops.reshape(feature_map, (-1, rows * columns, channels))
        tokens = ops.pad(tokens, [(0, 0), (0, self.length - rows * columns), (0, 0)])
        genuine = ops.arange(self.length) < rows * columns
        mask = ops.broadcast_to(genuine[None, :], (ops.shape(feature_map)[0], self.length))
        return tokens, mask

    def get_config(self) -> dict[str, Any]:
        """What the constructor takes."""
        return {**super().get_config(), "length": self.length}
