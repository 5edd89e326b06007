"""The component's interface."""

from __future__ import annotations

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.data_gate import executor


class DataGateSpec(types.ComponentSpec):
    """Anomalies in, a verdict out."""

    PARAMETERS: dict[str, ExecutionParameter] = {}
    INPUTS = {"anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies)}
    OUTPUTS = {"verdict": ChannelParameter(type=standard_artifacts.JsonValue)}


class DataGate(base_component.BaseComponent):
    """Fails, and so stops everything that follows it, when ExampleValidator found an anomaly.

    A node without outgoing edges holds nobody back: give the first node that must wait
    `add_upstream_node(data_gate)`.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, *, anomalies: types.BaseChannel) -> None:
        """Makes the node over ExampleValidator's output."""
        super().__init__(
            spec=DataGateSpec(anomalies=anomalies, verdict=types.Channel(type=standard_artifacts.JsonValue))
        )
