"""Writes a trained model as a SavedModel that takes image files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline import features
from pipeline.models.decode_image import decode_images


def export_model(model: keras.Model, folder: Path, *, size: int) -> None:
    """Writes the SavedModel with two signatures; preprocessing is part of both.

    `serving_default` takes `image`, string [batch] of PNG or JPEG bytes; `examples` takes serialised
    tf.train.Examples, string [batch], for TFMA. Both return `probabilities` float32 [batch, 2] (benign,
    malignant), `label` string [batch] and `score` float32 [batch], the probability of malignant.

    Args:
        model: from RGB [batch, size, size, 3] in 0..255 to probabilities [batch, 2].
        folder: where; must not exist or be empty.
        size: pixels per side.
    """

    def answer(image: Any) -> dict[str, Any]:
        probabilities = model(tf.cast(decode_images(image, size=size), tf.float32), training=False)
        return {
            features.PROBABILITIES: probabilities,
            features.PREDICTED_LABEL: tf.gather(list(features.CLASSES), tf.argmax(probabilities, axis=-1)),
            features.SCORE: probabilities[:, features.CLASSES.index(features.POSITIVE_CLASS)],
        }

    def answer_examples(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, {features.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return answer(parsed[features.IMAGE])

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(
        features.SERVING_SIGNATURE, answer, [tf.TensorSpec([None], tf.string, name=features.SERVING_INPUT)]
    )
    archive.add_endpoint(
        features.EXAMPLES_SIGNATURE, answer_examples, [tf.TensorSpec([None], tf.string, name="examples")]
    )
    archive.write_out(str(folder), verbose=False)
