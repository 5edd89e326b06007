"""Spec of ModelGate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.model_gate import executor
from knet.runs.registry import StoredPredictions


class ModelGateSpec(types.ComponentSpec):
    """Input: the winner's evaluation. Output: a blessing."""

    PARAMETERS = {
        "rules": ExecutionParameter(type=str),
        "classes": ExecutionParameter(type=str),
        "positive": ExecutionParameter(type=str),
        "baseline": ExecutionParameter(type=str),
        "baseline_digest": ExecutionParameter(type=str),
        "baseline_version": ExecutionParameter(type=str),
        "seed": ExecutionParameter(type=int),
    }
    INPUTS = {"evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation)}
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.ModelBlessing)}


class ModelGate(base_component.BaseComponent):
    """Blesses ModelSelector's winner if it meets the rules and is not worse than the model in production."""

    SPEC_CLASS = ModelGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        evaluation: types.BaseChannel,
        rules: Mapping[str, Any],
        classes: Sequence[str],
        positive: Sequence[str],
        baseline: StoredPredictions | None,
        seed: int,
    ) -> None:
        """Create the node.

        Args:
            evaluation: Evaluation of ModelSelector's winner.
            rules: Fields of the gate's rules (`knet.evaluation.gate`).
            classes: Class names in the order of the labels.
            positive: Names of the positive group of more than two classes; empty if there is none.
            baseline: Predictions of the model in production, if there is one.
            seed: Seed of the bootstrap.
        """
        super().__init__(
            spec=ModelGateSpec(
                evaluation=evaluation,
                rules=json.dumps(dict(rules), sort_keys=True),
                classes=json.dumps(list(classes)),
                positive=json.dumps(list(positive)),
                baseline=str(baseline.file) if baseline else "",
                baseline_digest=baseline.digest if baseline else "",
                baseline_version=baseline.version if baseline else "",
                seed=seed,
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
