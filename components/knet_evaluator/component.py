"""Spec of KnetEvaluator."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.knet_evaluator import executor


class KnetEvaluatorSpec(types.ComponentSpec):
    """Inputs: model, examples and schema. Output: an evaluation."""

    PARAMETERS = {
        "candidate": ExecutionParameter(type=str),
        "slices": ExecutionParameter(type=str),
    }
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"evaluation": ChannelParameter(type=standard_artifacts.ModelEvaluation)}


class KnetEvaluator(base_beam_component.BaseBeamComponent):
    """Evaluates a model by slice at its own threshold, and writes the prediction of each image.

    It replaces TFX's Evaluator, which does neither. TFMA can read the evaluation; a folder of it has the
    predictions as Parquet.
    """

    SPEC_CLASS = KnetEvaluatorSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        *,
        candidate: str,
        model: types.BaseChannel,
        examples: types.BaseChannel,
        schema: types.BaseChannel,
        slices: Sequence[str],
    ) -> None:
        """Create the node.

        Args:
            candidate: Name of the candidate.
            model: Trainer's model.
            examples: BreakHisExampleGen's examples.
            schema: Schema of the examples.
            slices: Columns to slice metrics by.
        """
        super().__init__(
            spec=KnetEvaluatorSpec(
                candidate=candidate,
                slices=json.dumps(list(slices)),
                model=model,
                examples=examples,
                schema=schema,
                evaluation=types.Channel(type=standard_artifacts.ModelEvaluation),
            )
        )
