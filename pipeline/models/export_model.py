"""Writes a trained model as a SavedModel that takes image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline import features
from pipeline.models.decode_image import decode_images


def export_model(model: keras.Model, folder: Path, *, size: int, classes: Sequence[str]) -> None:
    """Writes the SavedModel with two signatures; preprocessing is part of both.

    `serving_default` takes `image`, string [batch] of PNG or JPEG bytes; `examples` takes serialised
    tf.train.Examples, string [batch], for TFMA. Both return `probabilities` float32 [batch, 2], `classes`
    string [batch, 2], what they are of, `label` string [batch], the likelier class, and `score` float32
    [batch], the probability of the second class.

    Args:
        model: from RGB [batch, size, size, 3] in 0..255 to probabilities [batch, 2].
        folder: where; must not exist or be empty.
        size: pixels per side.
        classes: the names of the two classes.
    """
    names = tf.constant([list(classes)])

    def answer(image: Any) -> dict[str, Any]:
        probabilities = model(tf.cast(decode_images(image, size=size), tf.float32), training=False)
        return {
            features.PROBABILITIES: probabilities,
            features.CLASSES: tf.repeat(names, tf.shape(probabilities)[0], axis=0),
            features.PREDICTED_LABEL: tf.gather(names[0], tf.argmax(probabilities, axis=-1)),
            features.SCORE: probabilities[:, 1],
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
