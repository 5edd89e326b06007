"""Reads what StatisticsGen and ExampleValidator wrote, a file a split."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from google.protobuf import message
from tensorflow_metadata.proto.v0 import anomalies_pb2, statistics_pb2

from pipeline import features

_PREFIX = "Split-"
_Message = TypeVar("_Message", bound=message.Message)


def read_statistics(folder: Path) -> dict[str, statistics_pb2.DatasetFeatureStatisticsList]:
    """By split, training first."""
    return _read(folder, "FeatureStats.pb", statistics_pb2.DatasetFeatureStatisticsList)


def read_anomalies(folder: Path) -> dict[str, anomalies_pb2.Anomalies]:
    """By split, training first."""
    return _read(folder, "SchemaDiff.pb", anomalies_pb2.Anomalies)


def _read(folder: Path, name: str, kind: type[_Message]) -> dict[str, _Message]:
    return {
        split: kind.FromString((folder / f"{_PREFIX}{split}" / name).read_bytes())
        for split in features.SPLITS
    }
