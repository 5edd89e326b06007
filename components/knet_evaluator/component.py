"""The component's interface."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.knet_evaluator import executor


class KnetEvaluatorSpec(types.ComponentSpec):
    """A model and examples in, an evaluation out."""

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
    """TFX's Evaluator, but for what that one leaves out: each image's prediction, and the model's threshold.

    The evaluation is TFMA's, which reads it as any other, with a folder of predictions as Parquet.
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
        """Makes the node.

        Args:
            candidate: whose model it is.
            model: a Trainer's output.
            examples: BreakHisExampleGen's output.
            schema: of these.
            slices: columns by whose values a split is divided.
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
