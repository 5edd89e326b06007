"""The paper's hybrid: a backbone, and on it a CNN branch beside an LSTM branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from pipeline.errors import UserError
from pipeline.models.accumulating_model import AccumulatingModel
from pipeline.models.backbones import BACKBONES
from pipeline.models.fit_stain_reference import STAIN_NORMALISATIONS
from pipeline.models.global_contrast_normalization import GlobalContrastNormalization
from pipeline.models.hybrid_head import build_hybrid_head
from pipeline.models.imagenet_weights import imagenet_weights

SCALING = "scaling"
STAINS = "stains"  # the layer in it that normalises them, where there is one
BODY = "backbone"


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
        stained = STAIN_NORMALISATIONS[stain_normalisation](stain_reference, name=STAINS)(pixels)
    scaled = {
        "image": GlobalContrastNormalization(dtype="float32"),
        "backbone": BACKBONES[backbone].scale,
        "dataset": layers.Normalization(
            mean=list(pixel_mean), variance=[s * s for s in pixel_std], dtype="float32"
        ),
    }[normalisation](stained)
    scaling = keras.Model(pixels, scaled, name=SCALING)
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
    return keras.Model(body.input, body.output, name=BODY)
