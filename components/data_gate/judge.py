"""Judges the data of a run: everything that DataGate fails on, and the page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.data_gate.anomalies import find_anomalies
from components.data_gate.drift import Distance, find_drift, measure_drift
from components.data_gate.finding import Finding
from components.data_gate.missing_classes import find_missing_classes
from components.data_gate.split_files import read_anomalies, read_statistics

# New patients reach every split alike, and the small ones would alarm by chance.
_COMPARED = "train"


@dataclass(frozen=True)
class Judgement:
    """What is wrong, and how far the training images moved since the previous run."""

    findings: tuple[Finding, ...]
    drift: tuple[Distance, ...] = ()  # empty where there was nothing to compare with


def judge(
    *, anomalies: Path, statistics: Path, schema: Path, previous: Path | None, classes: Sequence[str]
) -> Judgement:
    """Looks for anomalies, splits in which a class is missing, and drift.

    Args:
        anomalies: ExampleValidator's folder.
        statistics: StatisticsGen's folder.
        schema: the schema's text file.
        previous: StatisticsGen's folder of the previous run; None compares with nothing.
        classes: their names, in the order of the labels.
    """
    now = read_statistics(statistics)
    findings = [*find_anomalies(read_anomalies(anomalies)), *find_missing_classes(now, classes=classes)]
    if previous is None:
        return Judgement(tuple(findings))
    drift = measure_drift(
        now[_COMPARED],
        previous=read_statistics(previous)[_COMPARED],
        schema=text_format.Parse(schema.read_text(encoding="utf-8"), schema_pb2.Schema()),
    )
    return Judgement((*findings, *find_drift(drift, split=_COMPARED)), tuple(drift))
