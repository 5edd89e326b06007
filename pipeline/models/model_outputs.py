"""What a trained model makes of images, in one pass: logits, penultimate vectors, and the true labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from pipeline.models.hybrid_head import HEAD, LOGITS, PENULTIMATE
from pipeline.models.hybrid_model import BODY, SCALING


@dataclass(frozen=True)
class ModelOutputs:
    """Of some images, in their order."""

    logits: NDArray[np.float32]  # [images, 2]
    vectors: NDArray[np.float32]  # [images, units]
    labels: NDArray[np.int64]  # [images]


def model_outputs(model: keras.Model, splits: Mapping[str, Any]) -> dict[str, ModelOutputs]:
    """Looks at every image once.

    Args:
        model: of `build_hybrid_model`.
        splits: batches of (uint8 pixels, labels) by name, at least one each.
    """
    scaling, body, head = model.get_layer(SCALING), model.get_layer(BODY), logits_and_vectors(model)

    @tf.function(input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8)])
    def look(pixels: Any) -> Any:
        return head(body(scaling(tf.cast(pixels, tf.float32)), training=False), training=False)

    def outputs(batches: Any) -> ModelOutputs:
        rows = [(*look(pixels), labels) for pixels, labels in batches]
        return ModelOutputs(*(np.concatenate(column) for column in zip(*rows, strict=True)))

    return {name: outputs(batches) for name, batches in splits.items()}


def logits_and_vectors(model: keras.Model) -> keras.Model:
    """The head of a model of `build_hybrid_model`, from feature map to both."""
    head = model.get_layer(HEAD)
    return keras.Model(head.input, [head.get_layer(name).output for name in (LOGITS, PENULTIMATE)])
