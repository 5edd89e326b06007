"""Writes a trained model as a SavedModel that takes image files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from knet.base import artifact_files, schema_names
from knet.models.grad_cam import GradCam
from knet.models.hybrid import BACKBONE, HEAD, LOGITS, PENULTIMATE, PREPROCESSING
from knet.models.images import decode_and_measure
from knet.models.out_of_distribution import ClassGaussians, ImageLimits


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
    scaling, body, head = (
        model.get_layer(PREPROCESSING),
        model.get_layer(BACKBONE),
        logits_and_embeddings(model),
    )
    grad_cam = GradCam(model)

    images = [tf.TensorSpec([None], tf.string, name=schema_names.SERVING_INPUT)]

    @tf.function(input_signature=images)  # so that all signatures share one graph of the backbone
    def look(image: Any) -> tuple[Any, Any, Any]:
        pixels, tissue, laplacian = decode_and_measure(image, size=size)
        return body(scaling(tf.cast(pixels, tf.float32)), training=False), tissue, laplacian

    def decide(logits: Any) -> tuple[Any, Any, dict[str, Any]]:
        probabilities = tf.nn.softmax(logits / temperature)
        called = tf.cast(probabilities[:, 1] >= threshold, tf.int32)
        decision = {
            schema_names.PREDICTED_LABEL: tf.gather(names[0], called),
            schema_names.SCORE: probabilities[:, 1],
        }
        return probabilities, called, decision

    def answer(image: Any) -> dict[str, Any]:
        feature_map, tissue, laplacian = look(image)
        logits, vectors = head(feature_map, training=False)
        probabilities, _, decision = decide(logits)
        return {
            schema_names.PROBABILITIES: probabilities,
            schema_names.CLASSES: tf.repeat(names, tf.shape(probabilities)[0], axis=0),
            **decision,
            schema_names.THRESHOLD: tf.fill(tf.shape(probabilities)[:1], tf.constant(threshold, tf.float32)),
            **check_images(vectors, tissue, laplacian, gaussians=gaussians, limits=limits),
        }

    def answer_examples(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, {schema_names.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return answer(parsed[schema_names.IMAGE])

    def classify(inputs: Any) -> dict[str, Any]:
        answered = answer_examples(inputs)
        return {
            tf.saved_model.CLASSIFY_OUTPUT_CLASSES: answered[schema_names.CLASSES],
            tf.saved_model.CLASSIFY_OUTPUT_SCORES: answered[schema_names.PROBABILITIES],
        }

    def describe(image: Any) -> dict[str, Any]:
        _, vectors = head(look(image)[0], training=False)
        return {schema_names.EMBEDDING: vectors}

    def explain(image: Any) -> dict[str, Any]:
        feature_map, _, _ = look(image)
        logits, _ = head(feature_map, training=False)
        _, called, decision = decide(logits)
        return {schema_names.HEAT_MAP: grad_cam(feature_map, called), **decision}

    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint(schema_names.SERVING_SIGNATURE, answer, images)
    archive.add_endpoint(
        schema_names.EXAMPLES_SIGNATURE, answer_examples, [tf.TensorSpec([None], tf.string, name="examples")]
    )
    archive.add_endpoint(
        schema_names.CLASSIFY_SIGNATURE,
        classify,
        [tf.TensorSpec([None], tf.string, name=tf.saved_model.CLASSIFY_INPUTS)],
    )
    archive.add_endpoint(schema_names.FEATURES_SIGNATURE, describe, images)
    archive.add_endpoint(schema_names.EXPLAIN_SIGNATURE, explain, images)
    archive.write_out(str(folder), verbose=False)
    set_method_name(
        folder, signature=schema_names.CLASSIFY_SIGNATURE, method=tf.saved_model.CLASSIFY_METHOD_NAME
    )
    write_warm_up_requests(folder)


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
    scaling, body, head = (
        model.get_layer(PREPROCESSING),
        model.get_layer(BACKBONE),
        logits_and_embeddings(model),
    )

    @tf.function(input_signature=[tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8)])
    def look(pixels: Any) -> Any:
        return head(body(scaling(tf.cast(pixels, tf.float32)), training=False), training=False)

    def outputs(batches: Any) -> ModelOutputs:
        rows = [(*look(pixels), labels) for pixels, labels in batches]
        return ModelOutputs(*(np.concatenate(column) for column in zip(*rows, strict=True)))

    return {name: outputs(batches) for name, batches in splits.items()}


def logits_and_embeddings(model: keras.Model) -> keras.Model:
    """The head of a model of `build_hybrid_model`, from feature map to both."""
    head = model.get_layer(HEAD)
    return keras.Model(head.input, [head.get_layer(name).output for name in (LOGITS, PENULTIMATE)])


def set_method_name(folder: Path, *, signature: str, method: str) -> None:
    """Changes a SavedModel's file.

    Args:
        folder: of the SavedModel.
        signature: its name.
        method: of TF Serving, such as `tensorflow/serving/classify`.
    """
    saved_model = saved_model_pb2.SavedModel.FromString((folder / artifact_files.SAVED_MODEL).read_bytes())
    for graph in saved_model.meta_graphs:
        graph.signature_def[signature].method_name = method
    (folder / artifact_files.SAVED_MODEL).write_bytes(saved_model.SerializeToString(deterministic=True))


def write_warm_up_requests(folder: Path) -> None:
    """Adds one request for `serving_default` to a SavedModel: a small synthetic image.

    Args:
        folder: of the SavedModel.
    """
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    image = tf.io.encode_png(np.stack([np.tile(ramp, (32, 1))] * 3, axis=-1)).numpy()
    request = predict_pb2.PredictRequest(
        model_spec={"name": schema_names.MODEL_NAME, "signature_name": schema_names.SERVING_SIGNATURE},
        inputs={schema_names.SERVING_INPUT: tf.make_tensor_proto([image], tf.string, [1])},
    )
    log = prediction_log_pb2.PredictionLog(predict_log={"request": request})
    (folder / artifact_files.WARM_UP_REQUESTS).parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / artifact_files.WARM_UP_REQUESTS)) as writer:
        writer.write(log.SerializeToString(deterministic=True))


def check_images(
    vectors: Any, tissue: Any, laplacian: Any, *, gaussians: ClassGaussians, limits: ImageLimits
) -> dict[str, Any]:
    """The outputs `distance`, `in_distribution` and `reasons` of `knet.base.schema_names`.

    Args:
        vectors: float32 [batch, units], penultimate.
        tissue: float32 [batch], the share of tissue.
        laplacian: float32 [batch], the variance of the Laplacian.
        gaussians: that distances are measured from.
        limits: that an image must keep to.
    """
    means, whitening = (tf.constant(part, tf.float32) for part in (gaussians.means, gaussians.whitening))
    apart = tf.linalg.matmul(vectors[:, None, :] - means, whitening)
    distance = tf.sqrt(tf.reduce_min(tf.reduce_sum(tf.square(apart), axis=2), axis=1))
    within = {
        schema_names.LITTLE_TISSUE: tissue >= limits.least_tissue,
        schema_names.BLURRED: laplacian >= limits.least_laplacian,
        schema_names.NOISY: laplacian <= limits.largest_laplacian,
        schema_names.UNLIKE_TRAINING: distance <= limits.largest_distance,
    }
    kept = tf.stack(list(within.values()), axis=1)
    return {
        schema_names.DISTANCE: distance,
        schema_names.IN_DISTRIBUTION: tf.reduce_all(kept, axis=1),
        schema_names.REASONS: tf.where(kept, "", tf.constant(list(within))),
    }
