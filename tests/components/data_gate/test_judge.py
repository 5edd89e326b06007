"""What fails the gate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo
from tensorflow_metadata.proto.v0.schema_pb2 import Schema

from components.data_gate.judge import Judgement, judge
from pipeline.features import SPLITS

CLASSES = ("benign", "malignant")
Look = Callable[..., Judgement]


@pytest.fixture
def look(statistics_of: Any, write_splits: Callable[..., Path], schema: Schema, tmp_path: Path) -> Look:
    """Judges three good splits, but for what is given."""

    def judge_with(*, anomalies: Any = None, now: Any = None, before: Any = None) -> Judgement:
        good = dict.fromkeys(SPLITS, statistics_of())
        file = tmp_path / "schema.pbtxt"
        file.write_text(text_format.MessageToString(schema), encoding="utf-8")
        return judge(
            anomalies=write_splits({**dict.fromkeys(SPLITS, Anomalies()), **(anomalies or {})}),
            statistics=write_splits({**good, **(now or {})}),
            schema=file,
            previous=None if before is None else write_splits({**good, **before}),
            classes=CLASSES,
        )

    return judge_with


def test_good_data_pass(look: Look) -> None:
    assert look() == Judgement(findings=())


def test_every_kind_of_finding_is_listed(look: Look, statistics_of: Any) -> None:
    anomaly = Anomalies(anomaly_info={"slide": AnomalyInfo(short_description="Unexpected")})
    judgement = look(
        anomalies={"validation": anomaly},
        now={"test": statistics_of([0])},
        before={"train": statistics_of(mean=100)},
    )
    assert [(finding.split, finding.feature) for finding in judgement.findings] == [
        ("validation", "slide"),
        ("test", "label"),
        ("train", "image/mean_red"),
    ]


def test_without_a_previous_run_nothing_is_compared(look: Look, statistics_of: Any) -> None:
    assert look(now={"train": statistics_of(mean=100)}).drift == ()


def test_distances_are_told_of_good_data_too(look: Look) -> None:
    judgement = look(before={})
    assert (judgement.findings, len(judgement.drift)) == ((), 1)


def test_drift_is_looked_for_among_the_training_images_alone(look: Look, statistics_of: Any) -> None:
    assert look(before={"test": statistics_of(mean=100)}).findings == ()
