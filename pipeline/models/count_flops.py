"""Counts what a model computes for one image."""

from __future__ import annotations

import math

import keras
from keras import layers

# A kernel of these is applied at every place of the output.
_KERNELS = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)


def count_flops(model: keras.Model) -> int:
    """Floating-point operations of one image's way through a model; a multiplication and an addition are two.

    Convolutions, fully connected layers and LSTMs are counted, the latter at every token of the padded
    sequence. What is left out, such as normalisation and pooling, is about a hundredth.

    Args:
        model: a functional one, with channels last and fixed sizes; models in it are counted too.
    """
    return sum(_of_layer(layer) for layer in model.layers)


def _of_layer(layer: keras.Layer) -> int:
    if isinstance(layer, keras.Model):
        return count_flops(layer)
    if isinstance(layer, _KERNELS):
        places = math.prod(layer.output.shape[1:-1])
        return 2 * places * math.prod(layer.kernel.shape)
    if isinstance(layer, layers.LSTM):
        tokens = keras.tree.flatten(layer.input)[0].shape[1]
        return 2 * tokens * sum(math.prod(w.shape) for w in (layer.cell.kernel, layer.cell.recurrent_kernel))
    return 0
