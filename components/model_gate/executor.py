"""Executor of ModelGate: evaluate the winner on test patients, and write its blessing."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from knet.base import artifact_files, schema_names
from knet.base.storage import local_copy
from knet.evaluation.gate import Rules, evaluate_gate
from knet.evaluation.predictions import FOLDER, read_predictions


class Executor(base_executor.BaseExecutor):
    """Compares the predictions of the winner with the rules and with the model in production."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Bless the model, or log in one line why not, and write the verdict to `gate.json`.

        Raises:
            UserError: The predictions of the model in production are missing.
        """
        evaluation = Path(artifact_utils.get_single_uri(input_dict["evaluation"]))
        predictions = read_predictions(evaluation / FOLDER)
        winner = str(predictions[schema_names.CANDIDATE].iloc[0])
        verdict = evaluate_gate(
            _test_rows(predictions),
            Rules(**json.loads(exec_properties["rules"])),
            classes=json.loads(exec_properties["classes"]),
            positive=json.loads(exec_properties["positive"]),
            baseline=_baseline(exec_properties["baseline"]),
            version=exec_properties["baseline_version"],
            seed=exec_properties["seed"],
        )
        blessed = not verdict.reasons
        blessing = artifact_utils.get_single_instance(output_dict["blessing"])
        blessing.set_int_custom_property("blessed", int(blessed))
        folder = Path(blessing.uri)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ("BLESSED" if blessed else "NOT_BLESSED")).touch()
        record = {"model": winner, "blessed": blessed, **asdict(verdict)}
        (folder / artifact_files.GATE).write_text(json.dumps(record, indent=2), encoding="utf-8")
        if not blessed:
            logging.getLogger(__name__).warning(
                "%s did not pass the gate: %s", winner, "; ".join(verdict.reasons)
            )


def _baseline(location: str) -> Any:
    """Read the predictions of the model in production; None if there is none."""
    if not location:
        return None
    with local_copy(location) as file:
        return _test_rows(read_predictions(file))


def _test_rows(predictions: Any) -> Any:
    return predictions[predictions[schema_names.SPLIT] == schema_names.TEST]
