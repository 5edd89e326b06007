"""Fails the run when there is any anomaly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.data_gate.anomalies import describe
from pipeline.errors import UserError


class Executor(base_executor.BaseExecutor):
    """Reads what ExampleValidator found."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the verdict.

        Raises:
            UserError: the data do not match the schema; the text lists every anomaly.
        """
        artifact = artifact_utils.get_single_instance(input_dict["anomalies"])
        splits = artifact_utils.decode_split_names(artifact.split_names)
        anomalies = {
            split: _read(Path(artifact.uri) / f"Split-{split}" / "SchemaDiff.pb") for split in splits
        }
        lines = describe(anomalies)
        if lines:
            raise UserError(
                "the data do not match schemas/breakhis.pbtxt, nothing was trained:\n"
                + "\n".join(f"  {line}" for line in lines)
                + "\nmend the data, or the schema if the data are right, and run again"
            )
        artifact_utils.get_single_instance(output_dict["verdict"]).value = {"splits": splits, "anomalies": 0}


def _read(path: Path) -> anomalies_pb2.Anomalies:
    return anomalies_pb2.Anomalies.FromString(path.read_bytes())
