"""Serves the model, asks it about real test images over gRPC, and compares with calling it directly."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import tensorflow as tf
from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from pipeline import features
from pipeline.ingested_images import ingested_images
from serving.client import Client
from serving.dev_server import DevServer

_TOLERANCE = 1e-5  # between a probability over gRPC and the same one from a direct call


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
            ValueError: the served answers are not probabilities, or differ from the model's own.
        """
        infra_blessing = artifact_utils.get_single_instance(output_dict["infra_blessing"])
        blessed = model_utils.is_model_blessed(artifact_utils.get_single_instance(input_dict["blessing"]))
        if blessed:
            folder = Path(artifact_utils.get_split_uri(input_dict["examples"], "test"))
            images = [image for _, image in ingested_images(folder, count=exec_properties["images"])]
            model = path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"]))
            compare_answers(_ask_served(Path(model), images), _ask_directly(model, images))
        folder = Path(infra_blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("INFRA_BLESSED" if blessed else "INFRA_NOT_BLESSED")).touch()
        infra_blessing.set_int_custom_property("blessed", int(blessed))


def _ask_served(model: Path, images: list[bytes]) -> list[list[float]]:
    with tempfile.TemporaryDirectory() as base:
        (Path(base) / "1").symlink_to(model.absolute(), target_is_directory=True)
        with DevServer(Path(base), port=0) as server, Client(server.address) as client:
            predictions = client.predict(images)
    return [list(p.probabilities.values()) for p in predictions]


def _ask_directly(model: str, images: list[bytes]) -> list[list[float]]:
    loaded = tf.saved_model.load(model)
    answer = loaded.signatures[features.SERVING_SIGNATURE](**{features.SERVING_INPUT: tf.constant(images)})
    return answer[features.PROBABILITIES].numpy().tolist()


def compare_answers(served: list[list[float]], direct: list[list[float]]) -> None:
    """Raises ValueError unless the served probabilities sum to one and are the direct ones, within 1e-5."""
    for number, (one, other) in enumerate(zip(served, direct, strict=True)):
        if not abs(sum(one) - 1) < _TOLERANCE:
            raise ValueError(f"test image {number}: served probabilities {one} do not sum to one")
        if not all(abs(a - b) < _TOLERANCE for a, b in zip(one, other, strict=True)):
            raise ValueError(f"test image {number}: served {one}, but the model itself gives {other}")
