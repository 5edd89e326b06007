"""Executor of ServingValidator: serve the model, and compare its predictions with the Keras model's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from tfx import types
from tfx.components.util import model_utils
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from knet.base import artifact_files, schema_names
from knet.data.examples import ingested_images
from knet.models.model_info import read_model_info

# Files of the blessing.
_CHECKED: Final = "PREDICTIONS_EQUAL_KERAS"  # in the development server, on test images
_NOT_CHECKED: Final = "NOT_CHECKED"  # the gate refused the model


class Executor(base_executor.BaseExecutor):
    """Runs the development server on a free port of this machine."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Write the infra blessing, whose file is named for what was checked.

        A model without the gate's blessing is not served, nor blessed.

        Raises:
            ValueError: The served predictions are no probabilities, or differ from the Keras model's.
        """
        infra_blessing = artifact_utils.get_single_instance(output_dict["infra_blessing"])
        blessed = model_utils.is_model_blessed(artifact_utils.get_single_instance(input_dict["blessing"]))
        if blessed:
            # The server takes a second to import, also where the graph is only compiled.
            from knet.serving.infra_validation import (
                check_predictions,
                keras_predictions,
                serve_predictions,
            )

            folder = Path(artifact_utils.get_split_uri(input_dict["examples"], schema_names.TEST))
            images = [image for _, image in ingested_images(folder, count=exec_properties["images"])]
            model = Path(path_utils.serving_model_path(artifact_utils.get_single_uri(input_dict["model"])))
            info = read_model_info(model)
            model_run = Path(artifact_utils.get_single_uri(input_dict[f"model_run_{info.candidate}"]))
            expected = keras_predictions(
                model_run / artifact_files.KERAS_MODEL,
                images,
                backbone=info.backbone or info.candidate,
                size=info.image_size,
                temperature=info.calibration.temperature,
            )
            check_predictions(serve_predictions(model, images), expected)
        folder = Path(infra_blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / (_CHECKED if blessed else _NOT_CHECKED)).touch()
        infra_blessing.set_int_custom_property("blessed", int(blessed))
