"""Spec of ServingValidator, with an input for each candidate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.serving_validator import executor


class ServingValidator(base_component.BaseComponent):
    """Serves a blessed model and validates its predictions of test images before it is pushed."""

    SPEC_CLASS = types.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        model: types.BaseChannel,
        model_runs: Mapping[Any, types.BaseChannel],
        blessing: types.BaseChannel,
        examples: types.BaseChannel,
        images: int = 4,
    ) -> None:
        """Create the node.

        Args:
            model: ModelSelector's winner.
            model_runs: Trainer's `model_run` of each candidate, with the Keras model.
            blessing: ModelGate's blessing.
            examples: BreakHisExampleGen's examples.
            images: Number of test images to predict.
        """
        # Kubeflow accepts one artifact for each channel, so each candidate has an input. It is
        # optional: a candidate that failed has none.
        runs = {f"model_run_{name}": model_run for name, model_run in model_runs.items()}
        inputs = {"model": model, "blessing": blessing, "examples": examples, **runs}
        spec_class = type(
            "ServingValidatorSpec",
            (types.ComponentSpec,),
            {
                "PARAMETERS": {"images": ExecutionParameter(type=int)},
                "INPUTS": {
                    name: ChannelParameter(type=channel.type, optional=name in runs)
                    for name, channel in inputs.items()
                },
                "OUTPUTS": {"infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)},
            },
        )
        infra_blessing = types.Channel(type=standard_artifacts.InfraBlessing)
        super().__init__(spec=spec_class(images=images, infra_blessing=infra_blessing, **inputs))
