"""Executor of ModelSelector: evaluate the predictions of each candidate, and pass on the best model."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from knet.base import schema_names
from knet.base.progress import PROGRESS
from knet.evaluation.bootstrap import CONFIDENCE, RESAMPLES
from knet.evaluation.predictions import FOLDER, prediction_sample, read_predictions
from knet.evaluation.results import candidate_results
from knet.evaluation.selection import select_model
from knet.evaluation.tfma_config import check_agreement, read_metrics
from knet.models.model_info import read_model_info


class Executor(base_executor.BaseExecutor):
    """Inputs are named `model_<candidate>` and `evaluation_<candidate>`; a failed candidate has none."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Copy the winner's model and evaluation, and write the decision and all metrics.

        The decision lists candidates without an evaluation as `missing`.

        Raises:
            UserError: No candidate is left, or the metric of one is undefined.
            ValueError: TFMA's metrics differ from those of the predictions.
        """
        settings = json.loads(exec_properties["settings"])
        slices, seed = json.loads(exec_properties["slices"]), exec_properties["seed"]

        def uri(name: str) -> Path:
            return Path(artifact_utils.get_single_uri(input_dict[name]))

        names = json.loads(exec_properties["candidates"])
        missing = [name for name in names if not input_dict.get(f"evaluation_{name}")]
        results, validation, parameters = {}, {}, {}
        for name in (name for name in names if name not in missing):
            logging.getLogger(PROGRESS).info("%d resamples of the patients of %s", RESAMPLES, name)
            frame = read_predictions(uri(f"evaluation_{name}") / FOLDER)
            info = read_model_info(uri(f"model_{name}"))
            labels = {"classes": info.classes, "positive": info.positive}
            results[name] = candidate_results(frame, **labels, slices=slices, resamples=RESAMPLES, seed=seed)
            check_agreement(results[name], read_metrics(uri(f"evaluation_{name}")), candidate=name)
            validated = frame[frame[schema_names.SPLIT] == schema_names.VALIDATION]
            validation[name] = prediction_sample(validated, **labels)
            parameters[name] = info.parameters
        decision = select_model(validation, parameters=parameters, seed=seed, **settings)
        for output in ("model", "evaluation"):
            source = uri(f"{output}_{decision['winner']}")
            shutil.copytree(source, artifact_utils.get_single_uri(output_dict[output]), dirs_exist_ok=True)
        artifact_utils.get_single_instance(output_dict["decision"]).value = {
            **decision,
            "missing": missing,
        }
        artifact_utils.get_single_instance(output_dict["results"]).value = {
            "classes": list(info.classes),
            "confidence": CONFIDENCE,
            "resamples": RESAMPLES,
            "seed": seed,
            "candidates": results,
        }
