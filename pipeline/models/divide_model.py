"""Divides a hybrid model into what stays frozen and what learns."""

from __future__ import annotations

import keras

from pipeline.models.accumulating_model import AccumulatingModel
from pipeline.models.hybrid_head import HEAD
from pipeline.models.hybrid_model import BODY, SCALING
from pipeline.models.split_backbone import split_backbone


def divide_model(
    model: keras.Model, backbone: str, *, upper_blocks: int
) -> tuple[keras.Model, AccumulatingModel]:
    """Cuts a hybrid model below the topmost blocks of its backbone; the parts share its layers and weights.

    Args:
        model: as `build_hybrid_model` returns it.
        backbone: its name.
        upper_blocks: how many blocks learn; below the number that it has.

    Returns:
        The frozen part, from pixels as the model takes them to the feature map at the cut, and the part that
        learns, from there to the probabilities. What the latter learns, the model has learnt.
    """
    lower, upper = split_backbone(backbone, model.get_layer(BODY), upper_blocks=upper_blocks)
    frozen = keras.Model(model.input, lower(model.get_layer(SCALING)(model.input)), name="frozen")
    feature_map = keras.Input(lower.output_shape[1:], name="feature_map", dtype="float32")
    learning = AccumulatingModel(
        feature_map, model.get_layer(HEAD)(upper(feature_map)), name=f"{model.name}_above"
    )
    return frozen, learning
