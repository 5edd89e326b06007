"""Serves the model, asks it about real test images over gRPC, and compares with the Keras model."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from knet.client import Client
from knet.models import hybrid, optimizer, stain  # noqa: F401 (the layers that a saved model names)
from knet.models.images import decode_images
from knet.models.model_info import read_model_info
from knet.serving.dev_server.server import DevServer
from knet.training.dataset import ingested_images

# Between a served probability and Keras's: the served graph is optimised, and adds in another order.
_TOLERANCE = 1e-4


class Executor(base_executor.BaseExecutor):
    """Runs the development server on a free port of this machine."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the infra blessing; a model that the gate refused is not served.

        Raises:
            ValueError: the served answers are not probabilities, or differ from the Keras model's.
        """
        infra_blessing = artifact_utils.get_single_instance(output_dict["infra_blessing"])
        blessed = model_utils.is_model_blessed(artifact_utils.get_single_instance(input_dict["blessing"]))
        if blessed:
            folder = Path(artifact_utils.get_split_uri(input_dict["examples"], "test"))
            images = [image for _, image in ingested_images(folder, count=exec_properties["images"])]
            model = Path(path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"])))
            info = read_model_info(model)
            model_run = Path(artifact_utils.get_single_uri(input_dict[f"model_run_{info.candidate}"]))
            own = ask_keras(
                model_run / "model.keras",
                images,
                size=info.image_size,
                temperature=info.calibration.temperature,
            )
            compare_answers(_ask_served(model, images), own)
        folder = Path(infra_blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED")).touch()
        infra_blessing.set_int_custom_property("blessed", int(blessed))


def _ask_served(model: Path, images: Sequence[bytes]) -> list[list[float]]:
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "1").symlink_to(model.absolute(), target_is_directory=True)
        with DevServer(Path(base), port=0) as server, Client(server.address) as client:
            predictions = client.predict(images)
    return [list(p.probabilities.values()) for p in predictions]


def compare_answers(served: list[list[float]], own: list[list[float]]) -> None:
    """Raises ValueError unless the served probabilities sum to one and are the model's own, within 1e-4."""
    for number, (one, other) in enumerate(zip(served, own, strict=True)):
        if not abs(sum(one) - 1) < _TOLERANCE:
            raise ValueError(f"test image {number}: served probabilities {one} do not sum to one")
        if not all(abs(a - b) < _TOLERANCE for a, b in zip(one, other, strict=True)):
            raise ValueError(f"test image {number}: served {one}, but the model itself gives {other}")


def ask_keras(file: Path, images: Sequence[bytes], *, size: int, temperature: float) -> list[list[float]]:
    """The calibrated probabilities of images, by Keras.

    Args:
        file: the trained model, `.keras`; it gives uncalibrated probabilities.
        images: PNG or JPEG bytes.
        size: pixels per side, as the model takes them.
        temperature: by which its logits are divided.
    """
    model = keras.saving.load_model(file, compile=False)
    pixels = decode_images(tf.constant(list(images)), size=size).numpy().astype(np.float32)
    # softmax(z / t) from p = softmax(z)
    answered = model.predict(pixels, verbose=0).astype(np.float64)
    logits = np.log(np.maximum(answered, np.finfo(np.float32).tiny))
    powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
    probabilities: list[list[float]] = (powers / powers.sum(axis=1, keepdims=True)).tolist()
    return probabilities
