"""Infrastructure validation of a model: compare served predictions with those of its Keras model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf

from knet.client import Client
from knet.models import hybrid, optimizer, stain  # noqa: F401 (the last two register layers of saved models)
from knet.models.backbones import find_backbone
from knet.models.images import decode_images
from knet.serving.dev_server.server import DevServer, Options

# Of a served probability from Keras's: the served graph is optimised, and adds in another order.
TOLERANCE: Final = 1e-4


def serve_predictions(model: Path, images: Sequence[bytes]) -> list[list[float]]:
    """Predict images over gRPC, by a development server on a free port of this machine.

    Args:
        model: Folder of the SavedModel.
        images: PNG or JPEG bytes.

    Returns:
        Probabilities of the classes, for each image.
    """
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "1").symlink_to(model.absolute(), target_is_directory=True)
        with (
            DevServer(Path(base), port=0, options=Options(warm_up=False)) as server,
            Client(server.address) as client,
        ):
            predictions = client.predict(images)
    return [list(p.probabilities.values()) for p in predictions]


def keras_predictions(
    file: Path, images: Sequence[bytes], *, backbone: str, size: int, temperature: float
) -> list[list[float]]:
    """Predict images with a Keras model, and calibrate the probabilities.

    Args:
        file: Trained model, `.keras`, from `build_hybrid_model`.
        images: PNG or JPEG bytes.
        backbone: Name or import path of its backbone, whose package may register layers.
        size: Input size of the model, in pixels per side.
        temperature: Temperature of the calibration, by which logits are divided.

    Returns:
        Probabilities of the classes, for each image.
    """
    find_backbone(backbone)
    model = keras.saving.load_model(file, compile=False)
    pixels = decode_images(tf.constant(list(images)), size=size).numpy().astype(np.float32)
    # A saturated softmax has lost the logits: their difference is bounded by the smallest float32.
    model.get_layer(hybrid.HEAD).layers[-1].activation = keras.activations.linear
    logits = model.predict(pixels, verbose=0).astype(np.float64)
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    probabilities: list[list[float]] = (powers / powers.sum(axis=1, keepdims=True)).tolist()
    return probabilities


def check_predictions(served: Sequence[Sequence[float]], expected: Sequence[Sequence[float]]) -> None:
    """Check that served probabilities sum to one and equal the expected ones, within 1e-4.

    Args:
        served: Served probabilities of the classes, for each image.
        expected: Probabilities by the Keras model.

    Raises:
        ValueError: They do not; the message has the index of the image and the probabilities.
    """
    for number, (one, other) in enumerate(zip(served, expected, strict=True)):
        if not abs(sum(one) - 1) < TOLERANCE:
            raise ValueError(f"test image {number}: served probabilities {one} do not sum to one")
        if not all(abs(a - b) < TOLERANCE for a, b in zip(one, other, strict=True)):
            raise ValueError(f"test image {number}: served {one}, but the Keras model gives {other}")
