"""The component's interface."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.data_gate import executor


class DataGateSpec(types.ComponentSpec):
    """Anomalies, statistics and schema in, a verdict out."""

    PARAMETERS = {
        "classes": ExecutionParameter(type=str),
        "previous_statistics": ExecutionParameter(type=str),
        "previous_digest": ExecutionParameter(type=str),
    }
    INPUTS = {
        "anomalies": ChannelParameter(type=standard_artifacts.ExampleAnomalies),
        "statistics": ChannelParameter(type=standard_artifacts.ExampleStatistics),
        "schema": ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {"verdict": ChannelParameter(type=standard_artifacts.JsonValue)}


class DataGate(base_component.BaseComponent):
    """Fails, and so stops everything that follows it, when something is wrong with the data.

    That is an anomaly that ExampleValidator found, a split without any example of a class, or images that
    drifted since the previous run. A node without outgoing edges holds nobody back: give the first node that
    must wait `add_upstream_node(data_gate)`.
    """

    SPEC_CLASS = DataGateSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(
        self,
        *,
        anomalies: types.BaseChannel,
        statistics: types.BaseChannel,
        schema: types.BaseChannel,
        classes: Sequence[str],
        previous_statistics: str = "",
        previous_digest: str = "",
    ) -> None:
        """Makes the node.

        Args:
            anomalies: ExampleValidator's output.
            statistics: StatisticsGen's output.
            schema: what both were given.
            classes: their names, in the order of the labels.
            previous_statistics: the folder of the statistics to look for drift from; empty looks for none.
            previous_digest: of their content, so that the cache sees other ones.
        """
        super().__init__(
            spec=DataGateSpec(
                anomalies=anomalies,
                statistics=statistics,
                schema=schema,
                classes=json.dumps(list(classes)),
                previous_statistics=previous_statistics,
                previous_digest=previous_digest,
                verdict=types.Channel(type=standard_artifacts.JsonValue),
            )
        )
