"""Writes a trained model as a SavedModel that takes image files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline import features
from pipeline.models.decode_image import decode_and_measure
from pipeline.models.grad_cam import GradCam
from pipeline.models.hybrid_model import BODY, SCALING
from pipeline.models.judge_images import judge_images
from pipeline.models.model_outputs import logits_and_vectors
from pipeline.models.set_method_name import set_method_name
from pipeline.models.warm_up_requests import write_warm_up_requests
from pipeline.ood.class_gaussians import ClassGaussians
from pipeline.ood.image_limits import ImageLimits


def export_model(
    model: keras.Model,
    folder: Path,
    *,
    size: int,
    classes: Sequence[str],
    temperature: float,
    threshold: float,
    gaussians: ClassGaussians,
    limits: ImageLimits,
) -> None:
    """Writes the SavedModel with five signatures, of which preprocessing is part, and a warm-up request.

    `examples`, for TFMA, and `classify`, for TF Serving's Classify, take serialised tf.train.Examples, string
    [batch]; the others take `image`, string [batch] of PNG or JPEG bytes.

    `serving_default` and `examples` return `probabilities` float32 [batch, 2], calibrated, `classes` string
    [batch, 2], what they are of, `label` string [batch], what the image is called, `score` float32 [batch],
    the probability of the second class, `threshold` float32 [batch], and what `judge_images` says. `classify`
    returns `classes` as they do and their probabilities as `scores`. `features` returns `vector` float32
    [batch, units], what the last layer but one makes of an image. `explain` returns `heat_map` float32
    [batch, rows, columns], from 0 to 1, what speaks for the label and where, with `label` and `score`.

    Args:
        model: of `build_hybrid_model`.
        folder: where; must not exist or be empty.
        size: pixels per side.
        classes: the names of the two classes.
        temperature: by which logits are divided.
        threshold: the score from which an image is called the second class.
        gaussians: of the vectors of the training images.
        limits: between which images are.
    """
    names = tf.constant([list(classes)])
    scaling, body, head = model.get_layer(SCALING), model.get_layer(BODY), logits_and_vectors(model)
    grad_cam = GradCam(model)

    images = [tf.TensorSpec([None], tf.string, name=features.SERVING_INPUT)]

    @tf.function(input_signature=images)  # so that all signatures share one graph of the backbone
    def look(image: Any) -> tuple[Any, Any, Any]:
        pixels, tissue, laplacian = decode_and_measure(image, size=size)
        return body(scaling(tf.cast(pixels, tf.float32)), training=False), tissue, laplacian

    def decide(logits: Any) -> tuple[Any, Any, dict[str, Any]]:
        probabilities = tf.nn.softmax(logits / temperature)
        called = tf.cast(probabilities[:, 1] >= threshold, tf.int32)
        decision = {
            features.PREDICTED_LABEL: tf.gather(names[0], called),
            features.SCORE: probabilities[:, 1],
        }
        return probabilities, called, decision

    def answer(image: Any) -> dict[str, Any]:
        feature_map, tissue, laplacian = look(image)
        logits, vectors = head(feature_map, training=False)
        probabilities, _, decision = decide(logits)
        return {
            features.PROBABILITIES: probabilities,
            features.CLASSES: tf.repeat(names, tf.shape(probabilities)[0], axis=0),
            **decision,
            features.THRESHOLD: tf.fill(tf.shape(probabilities)[:1], tf.constant(threshold, tf.float32)),
            **judge_images(vectors, tissue, laplacian, gaussians=gaussians, limits=limits),
        }

    def answer_examples(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, {features.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return answer(parsed[features.IMAGE])

    def classify(inputs: Any) -> dict[str, Any]:
        answered = answer_examples(inputs)
        return {
            tf.saved_model.CLASSIFY_OUTPUT_CLASSES: answered[features.CLASSES],
            tf.saved_model.CLASSIFY_OUTPUT_SCORES: answered[features.PROBABILITIES],
        }

    def describe(image: Any) -> dict[str, Any]:
        _, vectors = head(look(image)[0], training=False)
        return {features.VECTOR: vectors}

    def explain(image: Any) -> dict[str, Any]:
        feature_map, _, _ = look(image)
        logits, _ = head(feature_map, training=False)
        _, called, decision = decide(logits)
        return {features.HEAT_MAP: grad_cam(feature_map, called), **decision}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(features.SERVING_SIGNATURE, answer, images)
    archive.add_endpoint(
        features.EXAMPLES_SIGNATURE, answer_examples, [tf.TensorSpec([None], tf.string, name="examples")]
    )
    archive.add_endpoint(
        features.CLASSIFY_SIGNATURE,
        classify,
        [tf.TensorSpec([None], tf.string, name=tf.saved_model.CLASSIFY_INPUTS)],
    )
    archive.add_endpoint(features.FEATURES_SIGNATURE, describe, images)
    archive.add_endpoint(features.EXPLAIN_SIGNATURE, explain, images)
    archive.write_out(str(folder), verbose=False)
    set_method_name(folder, signature=features.CLASSIFY_SIGNATURE, method=tf.saved_model.CLASSIFY_METHOD_NAME)
    write_warm_up_requests(folder)
