"""Executor of DataGate: fail the run if the data have anomalies."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from knet.base import artifact_files
from knet.base.errors import UserError
from knet.base.storage import local_copy
from knet.data.validation import ValidationReport, format_anomalies, validate_data


class Executor(base_executor.BaseExecutor):
    """Validates what StatisticsGen and ExampleValidator wrote."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Write the verdict.

        Raises:
            UserError: The data do not match the schema, a split lacks a class, or the images drifted; the
                message lists every anomaly.
        """
        folders = {name: Path(artifact_utils.get_single_uri(input_dict[name])) for name in input_dict}
        previous = exec_properties["previous_statistics"]
        with local_copy(previous) if previous else nullcontext() as previous_statistics:
            report = validate_data(
                anomalies=folders["anomalies"],
                statistics=folders["statistics"],
                schema=folders["schema"] / artifact_files.SCHEMA,
                previous=previous_statistics,
                classes=json.loads(exec_properties["classes"]),
            )
        if report.anomalies:
            raise UserError(_message(report))
        artifact_utils.get_single_instance(output_dict["verdict"]).value = {
            "anomalies": 0,
            "drift": {distance.feature: distance.value for distance in report.drift},
        }


def _message(report: ValidationReport) -> str:
    rows = "\n".join(f"  {row}" for row in format_anomalies(report.anomalies).splitlines())
    remedies = ["fix the data, or the schema if the data are right (knet schema diff), and run again"]
    if any(distance.drifted for distance in report.drift):
        remedies.append("where the images were meant to change, run once with --set data_gate.drift=false")
    return "\n".join(["the data did not pass, nothing was trained:", rows, *remedies])
