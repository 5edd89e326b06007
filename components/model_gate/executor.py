"""Judges the winner on test patients and writes the blessing that Pusher reads."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from knet.base import schema_names
from knet.base.storage import local_copy
from knet.evaluation.gate import Rules, evaluate_gate
from knet.evaluation.predictions import FOLDER, read_predictions


class Executor(base_executor.BaseExecutor):
    """Reads the predictions of the ModelSelector's winner, and those of the model in production."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Blesses the model or says in one line why not; `gate.json` keeps the verdict.

        Raises:
            UserError: the predictions of the model in production are missing.
        """
        evaluation = Path(artifact_utils.get_single_uri(input_dict["evaluation"]))
        predictions = read_predictions(evaluation / FOLDER)
        winner = str(predictions[schema_names.CANDIDATE].iloc[0])
        verdict = evaluate_gate(
            _of_test(predictions),
            Rules(**json.loads(exec_properties["rules"])),
            classes=json.loads(exec_properties["classes"]),
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
        (folder / "gate.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
        if not blessed:
            logging.getLogger(__name__).warning("%s is refused: %s", winner, "; ".join(verdict.reasons))


def _baseline(location: str) -> Any:
    """None where there is no model in production."""
    if not location:
        return None
    with local_copy(location) as file:
        return _of_test(read_predictions(file))


def _of_test(predictions: Any) -> Any:
    return predictions[predictions[schema_names.SPLIT] == "test"]
