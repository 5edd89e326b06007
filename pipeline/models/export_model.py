"""Writes a trained model as a SavedModel that takes image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline import features
from pipeline.models.decode_image import decode_images
from pipeline.models.grad_cam import GradCam
from pipeline.models.hybrid_head import HEAD, PENULTIMATE
from pipeline.models.hybrid_model import BODY, SCALING
from pipeline.models.warm_up_requests import write_warm_up_requests


def export_model(model: keras.Model, folder: Path, *, size: int, classes: Sequence[str]) -> None:
    """Writes the SavedModel with four signatures, of which preprocessing is part, and a warm-up request.

    `examples` takes serialised tf.train.Examples, string [batch], for TFMA; the others take `image`, string
    [batch] of PNG or JPEG bytes.

    `serving_default` and `examples` return `probabilities` float32 [batch, 2], `classes` string [batch, 2],
    what they are of, `label` string [batch], the likelier class, and `score` float32 [batch], the probability
    of the second class. `features` returns `vector` float32 [batch, units], what the last layer but one makes
    of an image. `explain` returns `heat_map` float32 [batch, rows, columns], from 0 to 1, what speaks for the
    label and where, with `label` and `score`.

    Args:
        model: of `build_hybrid_model`.
        folder: where; must not exist or be empty.
        size: pixels per side.
        classes: the names of the two classes.
    """
    names = tf.constant([list(classes)])
    scaling, body, head = (model.get_layer(part) for part in (SCALING, BODY, HEAD))
    penultimate = keras.Model(head.input, head.get_layer(PENULTIMATE).output)
    grad_cam = GradCam(model)

    images = [tf.TensorSpec([None], tf.string, name=features.SERVING_INPUT)]

    @tf.function(input_signature=images)  # so that all signatures share one graph of the backbone
    def feature_map(image: Any) -> Any:
        pixels = tf.cast(decode_images(image, size=size), tf.float32)
        return body(scaling(pixels), training=False)

    def decide(probabilities: Any) -> dict[str, Any]:
        return {
            features.PREDICTED_LABEL: tf.gather(names[0], tf.argmax(probabilities, axis=-1)),
            features.SCORE: probabilities[:, 1],
        }

    def answer(image: Any) -> dict[str, Any]:
        probabilities = head(feature_map(image), training=False)
        return {
            features.PROBABILITIES: probabilities,
            features.CLASSES: tf.repeat(names, tf.shape(probabilities)[0], axis=0),
            **decide(probabilities),
        }

    def answer_examples(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, {features.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return answer(parsed[features.IMAGE])

    def describe(image: Any) -> dict[str, Any]:
        return {features.VECTOR: penultimate(feature_map(image), training=False)}

    def explain(image: Any) -> dict[str, Any]:
        mapped = feature_map(image)
        return {features.HEAT_MAP: grad_cam(mapped), **decide(head(mapped, training=False))}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(features.SERVING_SIGNATURE, answer, images)
    archive.add_endpoint(
        features.EXAMPLES_SIGNATURE, answer_examples, [tf.TensorSpec([None], tf.string, name="examples")]
    )
    archive.add_endpoint(features.FEATURES_SIGNATURE, describe, images)
    archive.add_endpoint(features.EXPLAIN_SIGNATURE, explain, images)
    archive.write_out(str(folder), verbose=False)
    write_warm_up_requests(folder)
