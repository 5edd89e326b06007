"""Reads every candidate's evaluation, chooses, and hands the winner on with a decision record."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.model_selector.selection import select
from pipeline.evaluation.read_metrics import read_metrics
from pipeline.model_info import read_model_info


class Executor(base_executor.BaseExecutor):
    """Inputs are named `model_<candidate>` and `evaluation_<candidate>`."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copies the winner's model and writes what was compared."""
        candidates = json.loads(exec_properties["candidates"])
        metric = exec_properties["metric"]

        def uri(name: str) -> Path:
            return Path(artifact_utils.get_single_uri(input_dict[name]))

        metrics = {name: read_metrics(uri(f"evaluation_{name}")) for name in candidates}
        parameters = {name: read_model_info(uri(f"model_{name}")).parameters for name in candidates}
        validation = {name: by_split["validation"] for name, by_split in metrics.items()}
        winner = select(validation, metric=metric, parameters=parameters)
        model = artifact_utils.get_single_uri(output_dict["model"])
        shutil.copytree(uri(f"model_{winner}"), model, dirs_exist_ok=True)
        artifact_utils.get_single_instance(output_dict["decision"]).value = {
            "winner": winner,
            "metric": metric,
            "candidates": metrics,
        }
