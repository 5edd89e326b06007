"""How much a model computes for one image."""

from __future__ import annotations

import math
from typing import Any

import keras


def count_operations(model: keras.Model) -> int:
    """Multiply-accumulate operations of one forward pass of one image.

    Counted are convolutions, fully connected layers and the LSTM's matrices; normalisations, activations and
    pooling are less than a hundredth. Papers that speak of FLOPs mean this number, or twice as much.

    Args:
        model: built for a fixed input size; models within it count too.
    """
    return sum(
        count_operations(layer) if isinstance(layer, keras.Model) else _of_layer(layer)
        for layer in model.layers
    )


def _of_layer(layer: Any) -> int:
    if isinstance(layer, keras.layers.DepthwiseConv2D | keras.layers.Conv2D):
        # A kernel is [rows, columns, channels in (of a group), channels out]; depthwise: one per channel.
        positions = math.prod(layer.output.shape[1:3])
        return int(positions * math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(layer.kernel.shape))
    if isinstance(layer, keras.layers.LSTM):
        cell = layer.cell
        matrices = math.prod(cell.kernel.shape) + math.prod(cell.recurrent_kernel.shape)
        return int(layer.input[0].shape[1] * matrices) if isinstance(layer.input, list) else 0
    return 0
