"""Spec of DataGate."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tfx import types
from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import standard_artifacts
from tfx.types.component_spec import ChannelParameter, ExecutionParameter

from components.data_gate import executor


class DataGateSpec(types.ComponentSpec):
    """Inputs: anomalies, statistics and schema. Output: a verdict."""

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
    """Fails, and so stops the nodes that follow it, if the data have anomalies.

    Anomalies are those of ExampleValidator, splits without any example of a class, and drift since the
    previous run. Nodes that must wait for the verdict need `add_upstream_node(data_gate)`.
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
        """Create the node.

        Args:
            anomalies: ExampleValidator's anomalies.
            statistics: StatisticsGen's statistics.
            schema: Schema of both.
            classes: Class names in the order of the labels.
            previous_statistics: Folder of the statistics to compare with; empty skips the measurement of
                drift.
            previous_digest: Digest of these statistics, for the cache key.
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
