"""The component's interface."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.serving_validator import executor


class ServingValidatorSpec(types.ComponentSpec):
    """A model, its blessing and examples in, an infra blessing out."""

    PARAMETERS = {"images": ExecutionParameter(type=int)}
    INPUTS = {
        "model": ChannelParameter(type=standard_artifacts.Model),
        "blessing": ChannelParameter(type=standard_artifacts.ModelBlessing),
        "examples": ChannelParameter(type=standard_artifacts.Examples),
    }
    OUTPUTS = {"infra_blessing": ChannelParameter(type=standard_artifacts.InfraBlessing)}


class ServingValidator(base_component.BaseComponent):
    """Loads a blessed model in a server and sends it real test images before it is pushed."""

    SPEC_CLASS = ServingValidatorSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        model: types.BaseChannel,
        blessing: types.BaseChannel,
        examples: types.BaseChannel,
        images: int = 4,
    ) -> None:
        """Makes the node.

        Args:
            model: the ModelSelector's winner.
            blessing: the ModelGate's output.
            examples: BreakHisExampleGen's output.
            images: how many test images are sent.
        """
        super().__init__(
            spec=ServingValidatorSpec(
                model=model,
                blessing=blessing,
                examples=examples,
                images=images,
                infra_blessing=types.Channel(type=standard_artifacts.InfraBlessing),
            )
        )
