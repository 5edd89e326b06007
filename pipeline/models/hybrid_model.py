"""The paper's hybrid: a CNN branch beside an LSTM branch, on one backbone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from pipeline.errors import UserError
from pipeline.models.backbones import BACKBONES
from pipeline.models.global_contrast_normalization import GlobalContrastNormalization
from pipeline.models.raster_tokens import RasterTokens


def build_hybrid_model(
    backbone: str,
    *,
    size: int,
    sequence_length: int,
    weights: str | None,
    alpha: float | None,
    normalisation: str,
    pixel_mean: Sequence[float],
    pixel_std: Sequence[float],
    lstm_units: int,
    dense_units: int,
    dropout: float,
    fine_tune: str,
    batch_norm_momentum: float,
) -> keras.Model:
    """Builds LSTM-KNet on a backbone (Dsouza & Ansari, 2022; LSTM as in eqs 4-8).

    Args:
        backbone: a name in `BACKBONES`.
        size: pixels per side.
        sequence_length: tokens, common to all candidates; at least the backbone's own.
        weights: `imagenet`, the path of a weights file without top, or None for a random start.
        alpha: width multiplier, MobileNet only.
        normalisation: `image`, `backbone` or `dataset`.
        pixel_mean: RGB means of the training images, 0 to 255, for `dataset`.
        pixel_std: RGB deviations, likewise.
        lstm_units: width of the LSTM.
        dense_units: width of each of the two fully connected layers.
        dropout: share of features dropped before the second of them.
        fine_tune: `all`, or `head` to leave the backbone as it is.
        batch_norm_momentum: of the backbone's batch normalisations.

    Raises:
        UserError: the weights file does not fit the backbone.

    Returns:
        A model from [batch, size, size, 3] RGB in 0..255 to the probabilities of both classes [batch, 2].
    """
    entry = BACKBONES[backbone]
    pixels = keras.Input((size, size, 3), name="pixels")
    body = _build_body(backbone, size=size, weights=weights, alpha=alpha)
    body.trainable = fine_tune == "all"
    _set_batch_norm_momentum(body, batch_norm_momentum)
    scaled = {
        "image": GlobalContrastNormalization(),
        "backbone": entry.scale,
        "dataset": layers.Normalization(mean=list(pixel_mean), variance=[s * s for s in pixel_std]),
    }[normalisation](pixels)
    feature_map = body(scaled)

    pooled = layers.GlobalAveragePooling2D()(feature_map)
    cnn_branch = layers.Dense(dense_units, activation="relu", name="cnn_branch")(pooled)
    tokens, mask = RasterTokens(length=sequence_length)(feature_map)
    # The cuDNN kernel would be exported, and could then not be loaded where there is no GPU.
    lstm_branch = layers.LSTM(lstm_units, use_cudnn=False, name="lstm_branch")(tokens, mask=mask)

    joined = layers.Concatenate()([cnn_branch, lstm_branch])
    joined = layers.BatchNormalization(momentum=batch_norm_momentum, name="head_normalisation")(joined)
    joined = layers.Dropout(dropout)(joined)
    joined = layers.Dense(dense_units, activation="relu", name="head_dense")(joined)
    probabilities = layers.Dense(2, activation="softmax", name="probabilities")(joined)
    return keras.Model(pixels, probabilities, name=f"knet_{backbone}")


def _build_body(backbone: str, *, size: int, weights: str | None, alpha: float | None) -> keras.Model:
    extra = {} if alpha is None else {"alpha": alpha}
    try:
        return BACKBONES[backbone].build(
            include_top=False, weights=weights, input_shape=(size, size, 3), **extra
        )
    except (ValueError, OSError) as error:
        if weights in (None, "imagenet"):
            raise
        raise UserError(
            f"candidates.{backbone}.weights: {weights} does not fit {backbone} without top"
            f"{'' if alpha is None else f' with alpha {alpha:g}'} ({error})"
        ) from error


def _set_batch_norm_momentum(body: Any, momentum: float) -> None:
    for layer in body.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = momentum
