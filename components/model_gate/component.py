"""The component's interface."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.model_gate import executor


class ModelGateSpec(types.ComponentSpec):
    """A decision in, a blessing out."""

    PARAMETERS = {"minimum": ExecutionParameter(type=str)}
    INPUTS = {"decision": ChannelParameter(type=standard_artifacts.JsonValue)}
    OUTPUTS = {"blessing": ChannelParameter(type=standard_artifacts.ModelBlessing)}


class ModelGate(base_component.BaseComponent):
    """Blesses the ModelSelector's winner when its test metrics reach every minimum."""

    SPEC_CLASS = ModelGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, *, decision: types.BaseChannel, minimum: Mapping[Any, float]) -> None:
        """Makes the node.

        Args:
            decision: the ModelSelector's output.
            minimum: the least value of each metric on test patients.
        """
        super().__init__(
            spec=ModelGateSpec(
                decision=decision,
                minimum=json.dumps(dict(minimum), sort_keys=True),
                blessing=types.Channel(type=standard_artifacts.ModelBlessing),
            )
        )
