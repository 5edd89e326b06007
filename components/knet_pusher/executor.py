"""Executor of Pusher that adds a version to the served folder atomically.

TFX's executor copies file by file into the version's folder, where a server may find it incomplete, and
ignores a model pushed in the same second as another.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tfx import types
from tfx.components.pusher import executor as tfx_pusher
from tfx.proto import pusher_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, proto_utils

from knet.serving.model_store import publish_model


class Executor(tfx_pusher.Executor):
    """TFX's executor with another way to write the version."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Archive the model and push it, unless it is not blessed or was rolled back."""
        pushed = artifact_utils.get_single_instance(output_dict[standard_component_specs.PUSHED_MODEL_KEY])
        destination = pusher_pb2.PushDestination()
        proto_utils.json_to_proto(exec_properties[standard_component_specs.PUSH_DESTINATION_KEY], destination)
        served = Path(destination.filesystem.base_directory)
        if not self.CheckBlessing(input_dict):
            self._MarkNotPushed(pushed)
            return
        model = self.GetModelPath(input_dict)
        io_utils.copy_dir(model, pushed.uri)
        version = publish_model(Path(model), served)
        if version is None:
            self._MarkNotPushed(pushed)
            return
        self._MarkPushed(pushed, pushed_destination=str(served / version), pushed_version=version)
