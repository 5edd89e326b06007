"""The paper's hybrid: a backbone, and on it a CNN branch beside an LSTM branch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from knet.base.errors import UserError
from knet.models.backbones import BACKBONES, imagenet_weights
from knet.models.images import GlobalContrastNormalization
from knet.models.optimizer import AccumulatingModel
from knet.models.stain import STAIN_NORMALISATIONS

PREPROCESSING = "scaling"
STAIN_NORMALIZATION = "stains"  # the layer in it that normalises them, where there is one
BACKBONE = "backbone"


def build_hybrid_model(
    backbone: str,
    *,
    size: int,
    weights: str | None,
    alpha: float | None,
    normalisation: str,
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    batch_norm_momentum: float,
    stain_normalisation: str = "none",
    stain_reference: Sequence[float] | None = None,
    **head: Any,
) -> AccumulatingModel:
    """Builds LSTM-KNet on a backbone (Dsouza & Ansari, 2022).

    Args:
        backbone: a name in `BACKBONES`.
        size: pixels per side.
        weights: `imagenet`, the path of a weights file without top, or None for a random start.
        alpha: width multiplier, MobileNet only.
        normalisation: `image`, `backbone` or `dataset`.
        pixel_mean: RGB means of the training images, 0 to 255, for `dataset`.
        pixel_std: RGB deviations, likewise.
        batch_norm_momentum: of every batch normalisation.
        stain_normalisation: `none`, `macenko` or `reinhard`.
        stain_reference: as `fit_stain_reference` returns it; None where weights will be loaded.
        **head: as `build_hybrid_head` takes it.

    Raises:
        UserError: the weights are missing or do not fit the backbone.

    Returns:
        A model from [batch, size, size, 3] RGB in 0..255 to the probabilities of both classes [batch, 2]. Its
        layers `scaling`, `backbone` and `head` are models of their own.
    """
    pixels = keras.Input((size, size, 3), name="pixels", dtype="float32")
    stained = pixels
    if stain_normalisation != "none":
        stained = STAIN_NORMALISATIONS[stain_normalisation](stain_reference, name=STAIN_NORMALIZATION)(pixels)
    scaled = {
        "image": GlobalContrastNormalization(dtype="float32"),
        "backbone": BACKBONES[backbone].scale,
        "dataset": layers.Normalization(
            mean=list(pixel_mean), variance=[s * s for s in pixel_std], dtype="float32"
        ),
    }[normalisation](stained)
    scaling = keras.Model(pixels, scaled, name=PREPROCESSING)
    body = _build_body(backbone, size=size, weights=weights, alpha=alpha)
    for layer in body.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = batch_norm_momentum
    on_body = build_hybrid_head(body.output_shape[1:], batch_norm_momentum=batch_norm_momentum, **head)
    return AccumulatingModel(pixels, on_body(body(scaling(pixels))), name=f"knet_{backbone}")


def _build_body(backbone: str, *, size: int, weights: str | None, alpha: float | None) -> keras.Model:
    file = str(imagenet_weights(backbone, alpha=alpha, size=size)) if weights == "imagenet" else weights
    extra = {} if alpha is None else {"alpha": alpha}
    try:
        body = BACKBONES[backbone].build(
            include_top=False, weights=file, input_shape=(size, size, 3), **extra
        )
    except (ValueError, OSError) as error:
        if file is None:
            raise
        raise UserError(
            f"candidates.{backbone}.weights: {file} does not fit {backbone} without top"
            f"{'' if alpha is None else f' with alpha {alpha:g}'} ({error})"
        ) from error
    return keras.Model(body.input, body.output, name=BACKBONE)


HEAD = "head"
PENULTIMATE = "head_dense"
LOGITS = "logits"


def build_hybrid_head(
    feature_map: tuple[int, int, int],
    *,
    variant: str,
    sequence_length: int,
    lstm_units: int,
    dense_units: int,
    dropout: float,
    batch_norm_momentum: float,
    synchronized: bool,
) -> keras.Model:
    """Builds what stands on a backbone (Dsouza & Ansari, 2022; LSTM as in eqs 4-8).

    Args:
        feature_map: rows, columns and channels of the backbone's output.
        variant: `parallel`, CNN branch beside LSTM branch; `serial`, the LSTM alone on the feature map; or
            `none`, the CNN branch alone.
        sequence_length: tokens, common to all candidates; at least rows * columns.
        lstm_units: width of the LSTM.
        dense_units: width of each of the two fully connected layers.
        dropout: share of features dropped before the second of them.
        batch_norm_momentum: of its batch normalisation.
        synchronized: whether that takes its statistics over all replicas.

    Returns:
        A model named `head` from [batch, rows, columns, channels] to probabilities [batch, 2], float32,
        the positive class second; its layer `logits` is what they are the softmax of, `head_dense` the
        penultimate vector.
    """
    inputs = keras.Input(feature_map, name="feature_map")
    branches: list[Any] = []
    if variant in ("parallel", "none"):
        pooled = layers.GlobalAveragePooling2D()(inputs)
        branches.append(layers.Dense(dense_units, activation="relu", name="cnn_branch")(pooled))
    if variant in ("parallel", "serial"):
        tokens, mask = RasterTokens(length=sequence_length, name="tokens")(inputs)
        # The cuDNN kernel would be exported, and could then not be loaded where there is no GPU.
        branches.append(layers.LSTM(lstm_units, use_cudnn=False, name="lstm_branch")(tokens, mask=mask))
    joined = layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
    joined = layers.BatchNormalization(
        momentum=batch_norm_momentum, synchronized=synchronized, name="head_normalisation"
    )(joined)
    joined = layers.Dropout(dropout)(joined)
    joined = layers.Dense(dense_units, activation="relu", name=PENULTIMATE)(joined)
    logits = layers.Dense(2, dtype="float32", name=LOGITS)(joined)
    probabilities = layers.Activation("softmax", dtype="float32", name="probabilities")(logits)
    return keras.Model(inputs, probabilities, name=HEAD)


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
