"""Executor of KnetTuner: run or resume a search, and write its results."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from knet.base import schema_names
from knet.base.digests import text_digest
from knet.base.storage import local_copy
from knet.training.candidate import Candidate
from knet.tuning.folds import FoldEvaluation
from knet.tuning.oracles import warm_start_values
from knet.tuning.plan import SearchPlan, Values
from knet.tuning.results import write_best_hyperparameters, write_trials
from knet.tuning.search import run_search
from knet.tuning.settings import TuningConfig


class Executor(base_executor.BaseExecutor):
    """Runs a search in a folder below `searches` that is named after a digest of its inputs and code."""

    def Do(
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Run or resume the search, write the results, and remove the state."""
        plan = _plan(input_dict["examples"], exec_properties)
        # A search can be resumed with another number of workers.
        settings = plan.model_dump_json(exclude={"tuning": {"workers"}})
        key = text_digest(settings, exec_properties["weights_digest"], plan.candidate.code_digest(__name__))
        folder = Path(exec_properties["searches"]) / plan.candidate.name / key
        trials = run_search(plan, folder, pod_hours=exec_properties["pod_hours"])
        outputs = {
            name: Path(artifact_utils.get_single_uri(artifacts)) for name, artifacts in output_dict.items()
        }
        write_best_hyperparameters(trials, plan, outputs["best_hyperparameters"])
        write_trials(trials, plan, outputs["trials"])
        shutil.rmtree(folder)


def _plan(examples: list[types.Artifact], properties: dict[str, Any]) -> SearchPlan:
    candidate = Candidate.model_validate_json(properties["candidate"])
    tuning = TuningConfig.model_validate_json(properties["tuning"])
    previous = properties["previous_trials"]
    warm_start: tuple[Values, ...] = ()
    if previous:
        with local_copy(previous) as file:
            warm_start = warm_start_values(file, tuning, candidate)
    return SearchPlan(
        candidate=candidate,
        tuning=tuning,
        warm_start=warm_start,
        evaluation=f"{FoldEvaluation.__module__}:{FoldEvaluation.__name__}",
        arguments={
            "train_files": [
                f"{uri}/*" for uri in artifact_utils.get_split_uris(examples, schema_names.TRAIN)
            ],
            "cache_root": properties["cache_root"],
        },
    )
