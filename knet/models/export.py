"""Export of a trained model as a SavedModel for image files, with its signatures and warm-up requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from knet.base import artifact_files, schema_names
from knet.models.grad_cam import GradCam
from knet.models.hybrid import HEAD, LOGITS, PENULTIMATE, HybridModel
from knet.models.images import Measurements, decode_and_measure
from knet.models.out_of_distribution import ClassGaussians, ImageLimits


def export_model(
    model: HybridModel,
    folder: Path,
    *,
    size: int,
    classes: Sequence[str],
    temperature: float,
    threshold: float | None,
    gaussians: ClassGaussians,
    limits: ImageLimits,
    positive: Sequence[int] = (),
    max_pixels: int = schema_names.MAX_PIXELS,
) -> None:
    """Write the SavedModel, preprocessing included, with five signatures and warm-up requests.

    Inputs: `examples` (for TFMA) and `classify` (for TF Serving's Classify) accept serialized
    tf.train.Examples, string [batch]; the others accept `image`, string [batch] of PNG or JPEG bytes.

    Outputs:
        serving_default, examples: `probabilities` float32 [batch, classes], calibrated, of `classes` string
            [batch, classes]; `label` string [batch], the predicted class; `score` float32 [batch], the
            probability of the positive one of two classes, otherwise of the label; and the outputs of
            `check_images`. With two classes or a positive group `threshold` float32 [batch], with the latter
            `positive_score` float32 [batch], the probability of the group.
        classify: `classes`, and `scores`, their probabilities.
        features: `embedding` float32 [batch, units], the output of the penultimate layer.
        explain: `heat_map` float32 [batch, rows, columns], Grad-CAM of the label, 0 to 1; `label`; `score`.

    Args:
        model: from `build_hybrid_model`.
        folder: destination; must not exist or be empty.
        size: height and width of the model's input, pixels.
        classes: names in the order of the labels; of two the negative and the positive class.
        temperature: divisor of the logits.
        threshold: score at and above which an image is predicted positive; None for more than two classes
            without a positive group.
        gaussians: of the embeddings of the training images.
        limits: of in-distribution images.
        positive: labels of the positive group of more than two classes.
        max_pixels: of an image; the model refuses larger ones before it decodes them.
    """
    names = tf.constant([list(classes)])
    head = logits_and_embeddings(model)
    grad_cam = GradCam(model)

    def traced(name: str) -> Any:
        """Return a decorator for functions of a batch of strings; functions share each other's graphs."""
        signature = [tf.TensorSpec([None], tf.string, name=name)]
        return tf.function(input_signature=signature, autograph=False)

    @traced(schema_names.SERVING_INPUT)
    def extract_features(image: Any) -> tuple[Any, Measurements]:
        pixels, measured = decode_and_measure(image, size=size, max_pixels=max_pixels)
        return model.extract_features(tf.cast(pixels, tf.float32)), measured

    def decide(logits: Any) -> tuple[Any, Any, dict[str, Any]]:
        probabilities = tf.nn.softmax(logits / temperature)
        if len(classes) == 2:
            score = probabilities[:, 1]
            predicted = tf.cast(score >= threshold, tf.int32)
        else:
            score = tf.reduce_max(probabilities, axis=1)
            predicted = tf.argmax(probabilities, axis=1, output_type=tf.int32)
        decision = {
            schema_names.PREDICTED_LABEL: tf.gather(names[0], predicted),
            schema_names.SCORE: score,
        }
        return probabilities, predicted, decision

    def decide_group(probabilities: Any) -> dict[str, Any]:
        outputs = {}
        if threshold is not None:
            outputs[schema_names.THRESHOLD] = tf.fill(
                tf.shape(probabilities)[:1], tf.constant(threshold, tf.float32)
            )
        if positive:
            of_group = tf.reduce_sum(tf.gather(probabilities, list(positive), axis=1), axis=1)
            outputs[schema_names.POSITIVE_SCORE] = tf.minimum(of_group, 1.0)
        return outputs

    @traced(schema_names.SERVING_INPUT)
    def predict(image: Any) -> dict[str, Any]:
        feature_map, measured = extract_features(image)
        logits, embeddings = head(feature_map, training=False)
        probabilities, _, decision = decide(logits)
        return {
            schema_names.PROBABILITIES: probabilities,
            schema_names.CLASSES: tf.repeat(names, tf.shape(probabilities)[0], axis=0),
            **decision,
            **decide_group(probabilities),
            **check_images(embeddings, measured, gaussians=gaussians, limits=limits),
        }

    @traced(schema_names.EXAMPLES_SIGNATURE)
    def predict_examples(examples: Any) -> dict[str, Any]:
        parsed = tf.io.parse_example(examples, {schema_names.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return predict(parsed[schema_names.IMAGE])

    @traced(tf.saved_model.CLASSIFY_INPUTS)
    def classify(inputs: Any) -> dict[str, Any]:
        predicted = predict_examples(inputs)
        return {
            tf.saved_model.CLASSIFY_OUTPUT_CLASSES: predicted[schema_names.CLASSES],
            tf.saved_model.CLASSIFY_OUTPUT_SCORES: predicted[schema_names.PROBABILITIES],
        }

    @traced(schema_names.SERVING_INPUT)
    def embed(image: Any) -> dict[str, Any]:
        _, embeddings = head(extract_features(image)[0], training=False)
        return {schema_names.EMBEDDING: embeddings}

    @traced(schema_names.SERVING_INPUT)
    def explain(image: Any) -> dict[str, Any]:
        feature_map, _ = extract_features(image)
        logits, _ = head(feature_map, training=False)
        _, predicted, decision = decide(logits)
        return {schema_names.HEAT_MAP: grad_cam(feature_map, predicted), **decision}

    functions = {
        schema_names.SERVING_SIGNATURE: predict,
        schema_names.EXAMPLES_SIGNATURE: predict_examples,
        schema_names.CLASSIFY_SIGNATURE: classify,
        schema_names.FEATURES_SIGNATURE: embed,
        schema_names.EXPLAIN_SIGNATURE: explain,
    }
    signatures = {name: function.get_concrete_function() for name, function in functions.items()}
    # Not keras.export.ExportArchive: it saves each variable twice, and traces each signature twice.
    variables = [variable.value for variable in model.variables]
    tf.saved_model.save(tf.train.Checkpoint(variables=variables), str(folder), signatures=signatures)
    set_method_name(
        folder, signature=schema_names.CLASSIFY_SIGNATURE, method=tf.saved_model.CLASSIFY_METHOD_NAME
    )
    write_warm_up_requests(folder)


@dataclass(frozen=True)
class ModelOutputs:
    """Outputs of a model for the images of a split, in their order."""

    logits: NDArray[np.float32]  # [images, classes]
    embeddings: NDArray[np.float32]  # [images, units]
    labels: NDArray[np.int64]  # [images]


def model_outputs(model: HybridModel, splits: Mapping[str, Any]) -> dict[str, ModelOutputs]:
    """Run a model on every image of some splits.

    Args:
        model: from `build_hybrid_model`.
        splits: tf.data.Dataset of (uint8 pixels [batch, size, size, 3], labels [batch]) by name of the split;
            none is empty.
    """
    head = logits_and_embeddings(model)

    @tf.function(input_signature=[tf.TensorSpec(model.input_shape, tf.uint8)], autograph=False)
    def infer(pixels: Any) -> Any:
        return head(model.extract_features(tf.cast(pixels, tf.float32)), training=False)

    def outputs(batches: Any) -> ModelOutputs:
        rows = [(*infer(pixels), labels) for pixels, labels in batches]
        return ModelOutputs(*(np.concatenate(column) for column in zip(*rows, strict=True)))

    return {name: outputs(batches) for name, batches in splits.items()}


def logits_and_embeddings(model: keras.Model) -> keras.Model:
    """Return the head of a model from `build_hybrid_model`: from feature map to logits and embeddings."""
    head = model.get_layer(HEAD)
    return keras.Model(head.input, [head.get_layer(name).output for name in (LOGITS, PENULTIMATE)])


def set_method_name(folder: Path, *, signature: str, method: str) -> None:
    """Set the method name of a signature, which Keras's ExportArchive cannot, in a SavedModel's file.

    Args:
        folder: the SavedModel.
        signature: key of the signature.
        method: such as `tensorflow/serving/classify`.
    """
    saved_model = saved_model_pb2.SavedModel.FromString((folder / artifact_files.SAVED_MODEL).read_bytes())
    for graph in saved_model.meta_graphs:
        graph.signature_def[signature].method_name = method
    (folder / artifact_files.SAVED_MODEL).write_bytes(saved_model.SerializeToString(deterministic=True))


# Rows of the batches that a server runs: those of knet/serving/config/batching_parameters.txt.
BATCH_SIZES: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)


def write_warm_up_requests(folder: Path) -> None:
    """Add warm-up requests, with a small synthetic image, to a SavedModel.

    There is one for each signature, which TensorFlow optimizes when it is first run, and one of
    `serving_default` for each batch size, for which GPUs choose their algorithms.

    Args:
        folder: the SavedModel.
    """
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    image = tf.io.encode_png(np.stack([np.tile(ramp, (32, 1))] * 3, axis=-1)).numpy()
    example = tf.train.Example()
    example.features.feature[schema_names.IMAGE].bytes_list.value.append(image)
    serialized = example.SerializeToString(deterministic=True)
    requests = [
        *((schema_names.SERVING_SIGNATURE, schema_names.SERVING_INPUT, image, size) for size in BATCH_SIZES),
        (schema_names.EXPLAIN_SIGNATURE, schema_names.SERVING_INPUT, image, 1),
        (schema_names.FEATURES_SIGNATURE, schema_names.SERVING_INPUT, image, 1),
        (schema_names.EXAMPLES_SIGNATURE, schema_names.EXAMPLES_SIGNATURE, serialized, 1),
        (schema_names.CLASSIFY_SIGNATURE, tf.saved_model.CLASSIFY_INPUTS, serialized, 1),
    ]
    (folder / artifact_files.WARM_UP_REQUESTS).parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(folder / artifact_files.WARM_UP_REQUESTS)) as writer:
        for signature, name, content, size in requests:
            request = predict_pb2.PredictRequest(
                model_spec={"name": schema_names.MODEL_NAME, "signature_name": signature},
                inputs={name: tf.make_tensor_proto([content] * size, tf.string, [size])},
            )
            log = prediction_log_pb2.PredictionLog(predict_log={"request": request})
            writer.write(log.SerializeToString(deterministic=True))


def check_images(
    embeddings: Any, measured: Measurements, *, gaussians: ClassGaussians, limits: ImageLimits
) -> dict[str, Any]:
    """Return the outputs `distance`, `in_distribution` and `reasons` (see `knet.base.schema_names`).

    Args:
        embeddings: float32 [batch, units].
        measured: of the images.
        gaussians: of the embeddings of the training images.
        limits: of in-distribution images.
    """
    means, whitening = (tf.constant(part, tf.float32) for part in (gaussians.means, gaussians.whitening))
    whitened = tf.linalg.matmul(embeddings[:, None, :] - means, whitening)
    distance = tf.sqrt(tf.reduce_min(tf.reduce_sum(tf.square(whitened), axis=2), axis=1))
    within = {
        schema_names.NOT_RGB: measured.rgb,
        schema_names.TOO_SMALL: measured.side >= schema_names.MIN_SIDE,
        schema_names.LITTLE_TISSUE: measured.tissue >= limits.min_tissue,
        schema_names.BLURRED: measured.laplacian >= limits.min_sharpness,
        schema_names.NOISY: measured.laplacian <= limits.max_sharpness,
        schema_names.UNLIKE_TRAINING: distance <= limits.max_distance,
    }
    passed = tf.stack(list(within.values()), axis=1)
    return {
        schema_names.DISTANCE: distance,
        schema_names.IN_DISTRIBUTION: tf.reduce_all(passed, axis=1),
        schema_names.REASONS: tf.where(passed, "", tf.constant(list(within))),
    }
