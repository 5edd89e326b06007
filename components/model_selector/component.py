"""Spec of ModelSelector, with inputs for each candidate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.model_selector import executor


class ModelSelector(base_component.BaseComponent):
    """Selects the candidate that is best on validation patients.

    Kubeflow accepts one artifact for each channel, so each candidate has its own inputs. They are optional: a
    candidate that failed has none.
    """

    SPEC_CLASS = types.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        models: Mapping[Any, types.BaseChannel],
        evaluations: Mapping[Any, types.BaseChannel],
        settings: Mapping[str, Any],
        slices: Sequence[str],
        seed: int,
    ) -> None:
        """Create the node.

        Args:
            models: Trainer's model of each candidate.
            evaluations: KnetEvaluator's evaluation of each candidate.
            settings: `metric`, `equivalence_margin` and `force_winner` (`knet.evaluation.selection`).
            slices: Columns to slice metrics by.
            seed: Seed of the bootstrap.
        """
        inputs = {f"model_{name}": model for name, model in models.items()}
        inputs |= {f"evaluation_{name}": evaluation for name, evaluation in evaluations.items()}
        spec_class = type(
            "ModelSelectorSpec",
            (types.ComponentSpec,),
            {
                "PARAMETERS": {
                    "candidates": ExecutionParameter(type=str),
                    "settings": ExecutionParameter(type=str),
                    "slices": ExecutionParameter(type=str),
                    "seed": ExecutionParameter(type=int),
                },
                "INPUTS": {
                    name: ChannelParameter(type=channel.type, optional=True)
                    for name, channel in inputs.items()
                },
                "OUTPUTS": {
                    "model": ChannelParameter(type=standard_artifacts.Model),
                    "evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation),
                    "decision": ChannelParameter(type=standard_artifacts.JsonValue),
                    "results": ChannelParameter(type=standard_artifacts.JsonValue),
                },
            },
        )
        spec = spec_class(
            candidates=json.dumps(list(models)),
            settings=json.dumps(dict(settings), sort_keys=True),
            slices=json.dumps(list(slices)),
            seed=seed,
            model=types.Channel(type=standard_artifacts.Model),
            evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
            decision=types.Channel(type=standard_artifacts.JsonValue),
            results=types.Channel(type=standard_artifacts.JsonValue),
            **inputs,
        )
        super().__init__(spec=spec)
