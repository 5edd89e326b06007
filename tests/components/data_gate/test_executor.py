"""Executor of DataGate, called directly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo
from tensorflow_metadata.proto.v0.schema_pb2 import Schema
from tfx.types import standard_artifacts

from components.data_gate.executor import Executor
from knet.base.errors import UserError
from knet.base.schema_names import SPLITS

Execute = Callable[..., Any]
NONE = Anomalies()


@pytest.fixture
def execute(statistics_of: Any, write_splits: Callable[..., Path], schema: Schema, tmp_path: Path) -> Execute:
    """Runs the executor, and returns its verdict."""
    (tmp_path / "schema.pbtxt").write_text(text_format.MessageToString(schema), encoding="utf-8")

    def run(*, anomalies: Anomalies = NONE, previous: str = "") -> Any:
        inputs = {
            "anomalies": (
                standard_artifacts.ExampleAnomalies(),
                write_splits(dict.fromkeys(SPLITS, anomalies)),
            ),
            "statistics": (
                standard_artifacts.ExampleStatistics(),
                write_splits(dict.fromkeys(SPLITS, statistics_of())),
            ),
            "schema": (standard_artifacts.Schema(), tmp_path),
        }
        for artifact, folder in inputs.values():
            artifact.uri = str(folder)
        verdict = standard_artifacts.JsonValue()
        verdict.uri = str(tmp_path / "verdict")
        Executor().Do(
            {name: [artifact] for name, (artifact, _) in inputs.items()},
            {"verdict": [verdict]},
            {
                "classes": json.dumps(["benign", "malignant"]),
                "previous_statistics": previous,
                "previous_digest": "",
            },
        )
        return verdict.value

    return run


def test_data_gate_passes_data_without_anomalies(execute: Execute) -> None:
    assert execute() == {"anomalies": 0, "drift": {}}


def test_data_gate_verdict_has_distances(
    execute: Execute, statistics_of: Any, write_splits: Callable[..., Path]
) -> None:
    previous = write_splits(dict.fromkeys(SPLITS, statistics_of()))
    assert execute(previous=str(previous)) == {"anomalies": 0, "drift": {"image/mean_red": 0.0}}


def test_data_gate_fails_on_an_anomaly_and_lists_it(execute: Execute) -> None:
    anomalies = Anomalies(anomaly_info={"slide": AnomalyInfo(short_description="Odd", description="x (~1%)")})
    with pytest.raises(UserError) as caught:
        execute(anomalies=anomalies)
    lines = str(caught.value).splitlines()
    assert [line.split() for line in lines[2:5]] == [
        [split, "slide", "Odd", "x", "(~1%)"] for split in SPLITS
    ]
    assert "drift" not in str(caught.value)


def test_data_gate_fails_on_drift_with_the_remedy(
    execute: Execute, statistics_of: Any, write_splits: Callable[..., Path]
) -> None:
    previous = write_splits(dict.fromkeys(SPLITS, statistics_of(mean=100)))
    with pytest.raises(UserError, match="run once with --set data_gate.drift=false"):
        execute(previous=str(previous))
