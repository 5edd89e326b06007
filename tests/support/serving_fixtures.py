"""Fixtures: a tiny model with the signatures of a trained one, and a development server of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tensorflow as tf

from knet.base import schema_names
from knet.models.export import set_method_name
from knet.serving.dev_server.server import DevServer

CLASSES = ["benign", "malignant"]


class TinyModel(tf.Module):
    """Scores an image by its mean brightness; has a variable, as trained models do."""

    def __init__(self) -> None:
        super().__init__()
        self.white = tf.Variable(255.0)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name=schema_names.SERVING_INPUT)])
    def serve(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classify PNG or JPEG bytes."""
        score = tf.map_fn(self._brightness, image, fn_output_signature=tf.float32)
        probabilities = tf.stack([1 - score, score], axis=1)
        return {
            schema_names.PROBABILITIES: probabilities,
            schema_names.CLASSES: tf.repeat([CLASSES], tf.shape(score)[0], axis=0),
            schema_names.PREDICTED_LABEL: tf.gather(CLASSES, tf.argmax(probabilities, axis=1)),
            schema_names.SCORE: score,
            schema_names.IN_DISTRIBUTION: score >= 0.5,
            schema_names.REASONS: tf.where((score < 0.5)[:, None], [["dark", ""]], ""),
            schema_names.DISTANCE: 1 - score,
        }

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32, name="x")])
    def double(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
        """Double two numbers: a signature of another type and shape."""
        return {"y": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        """Classify examples."""
        feature = {schema_names.IMAGE: tf.io.FixedLenFeature([], tf.string)}
        outputs = self.serve(tf.io.parse_example(inputs, feature)[schema_names.IMAGE])
        return {"classes": outputs[schema_names.CLASSES], "scores": outputs[schema_names.PROBABILITIES]}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 2], tf.float32, name="a"),
            tf.TensorSpec([None, 2], tf.float32, name="b"),
        ]
    )
    def add(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        """Add rows of numbers: a signature with two inputs."""
        return {"sum": a + b, "name_bytes": tf.repeat([b"\xff"], tf.shape(a)[0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.uint8, name="n")])
    def count(self, n: tf.Tensor) -> dict[str, tf.Tensor]:
        """Add one to small whole numbers."""
        return {"next": n + tf.constant(1, tf.uint8)}

    def _brightness(self, image: tf.Tensor) -> tf.Tensor:
        return tf.reduce_mean(tf.cast(tf.io.decode_png(image, channels=3), tf.float32)) / self.white


def save_tiny_model(folder: Path) -> None:
    """Write the SavedModel of a TinyModel."""
    model = TinyModel()
    signatures = {
        schema_names.SERVING_SIGNATURE: model.serve,
        schema_names.CLASSIFY_SIGNATURE: model.classify,
        "double": model.double,
        "add": model.add,
        "count": model.count,
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)
    set_method_name(folder, signature="classify", method=tf.saved_model.CLASSIFY_METHOD_NAME)


@pytest.fixture(scope="session")
def saved_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The SavedModel of a TinyModel, to be copied."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_tiny_model(folder)
    return folder


@pytest.fixture(scope="session")
def base_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A served folder: version 7, beside it an older and an incomplete version and an unrelated folder."""
    base = tmp_path_factory.mktemp("knet")
    save_tiny_model(base / "7")
    (base / "7" / "assets.extra").mkdir()
    (base / "7" / "assets.extra" / "knet.json").write_text('{"candidate": "tiny"}')
    (base / "10" / "variables").mkdir(parents=True)
    for other in ("6", "temporary"):
        (base / other).mkdir()
        (base / other / "saved_model.pb").write_bytes(b"loading this fails")
    return base


@pytest.fixture(scope="session")
def server(base_path: Path) -> Iterator[DevServer]:
    """A running development server on free ports."""
    with DevServer(base_path, port=0, rest_port=0) as running:
        yield running


@pytest.fixture(scope="session")
def png() -> Callable[[int], bytes]:
    """Encode an 8 by 8 grey PNG of one brightness, 0 to 255."""

    def make(brightness: int) -> bytes:
        pixels = tf.fill([8, 8, 3], tf.constant(brightness, tf.uint8))
        encoded: bytes = tf.io.encode_png(pixels).numpy()
        return encoded

    return make
