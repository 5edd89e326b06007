"""Fails the run when anything is wrong with the data."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from knet.base.errors import UserError
from knet.base.storage import local_copy
from knet.data.validation import ValidationReport, table, validate_data


class Executor(base_executor.BaseExecutor):
    """Judges what StatisticsGen counted and ExampleValidator found."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the verdict.

        Raises:
            UserError: the data do not match the schema, a split lacks a class, or the images drifted; the
                text lists everything that was found.
        """
        folders = {name: Path(artifact_utils.get_single_uri(input_dict[name])) for name in input_dict}
        previous = exec_properties["previous_statistics"]
        with local_copy(previous) if previous else nullcontext() as drifted_from:
            judgement = validate_data(
                anomalies=folders["anomalies"],
                statistics=folders["statistics"],
                schema=folders["schema"] / "schema.pbtxt",
                previous=drifted_from,
                classes=json.loads(exec_properties["classes"]),
            )
        if judgement.findings:
            raise UserError(_message(judgement))
        artifact_utils.get_single_instance(output_dict["verdict"]).value = {
            "findings": 0,
            "drift": {distance.feature: distance.value for distance in judgement.drift},
        }


def _message(judgement: ValidationReport) -> str:
    rows = "\n".join(f"  {row}" for row in table(judgement.findings).splitlines())
    remedies = ["mend the data, or the schema if the data are right (knet schema diff), and run again"]
    if any(distance.drifted for distance in judgement.drift):
        remedies.append("where the images were meant to change, run once with --set data_gate.drift=false")
    return "\n".join(["the data did not pass, nothing was trained:", rows, *remedies])
