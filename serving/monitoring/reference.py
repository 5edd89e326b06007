"""What the requests of a model version are compared with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import message
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

import schemas
from components.data_gate.split_files import read_statistics
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.evaluation.predictions import read_predictions
from pipeline.registry import RunRegistry
from pipeline.report import run_files
from pipeline.report.find_version import find_version
from pipeline.run_record import RunRecord, read_record
from pipeline.schema.text import read_schema
from pipeline.workspace import Workspace


@dataclass(frozen=True)
class Reference:
    """The training images, and what the model said of those that it was evaluated on."""

    statistics: statistics_pb2.DatasetFeatureStatisticsList  # of the train split
    predictions: Any  # a data frame of test and validation images; None where there is none
    origin: str  # where they are from, in a few words
    synthetic: bool = False  # whether the training images are the synthetic samples


def given_reference(statistics: Path, predictions: Path | None) -> Reference:
    """What the user names.

    Args:
        statistics: a folder that StatisticsGen wrote.
        predictions: Parquet, as in `predictions/` beside a report.

    Raises:
        UserError: they cannot be read.
    """
    return Reference(
        statistics=_statistics(statistics),
        predictions=None if predictions is None else read_predictions(predictions),
        origin=str(statistics),
    )


def reference_of(version: int, workspace: Workspace) -> Reference:
    """What the run left that pushed a version.

    Raises:
        UserError: no run pushed it, or its statistics are gone.
    """
    registry = RunRegistry(workspace.registry)
    record = find_version(str(version), registry, where=workspace.root)
    folder = workspace.reports / record.run_id
    predictions = folder / run_files.PREDICTIONS / f"{record.winner}.parquet"
    return Reference(
        statistics=_statistics(_folder_of_statistics(record, folder, registry)),
        predictions=read_predictions(predictions) if predictions.is_file() else None,
        origin=f"run {record.run_id}",
        synthetic=record.data.synthetic,
    )


def schema_of(config: Config, workspace: Workspace) -> schema_pb2.Schema:
    """The configured schema, else that of the last successful run, else BreaKHis'.

    Raises:
        UserError: its file is missing, is no schema, or says of no feature how far it may be from training.
    """
    kept = RunRegistry(workspace.registry).previous_statistics()
    file = config.data.schema_file or (kept.schema if kept else schemas.BREAKHIS)
    schema = read_schema(file)
    if not any(feature.HasField("skew_comparator") for feature in schema.feature):
        raise UserError(f"{file} has no skew_comparator: nothing of what was served can be compared by it")
    return schema


def _folder_of_statistics(record: RunRecord, folder: Path, registry: RunRegistry) -> Path:
    """StatisticsGen's own, else those that the registry kept of a run on the same data."""
    lineage = folder / run_files.LINEAGE
    if lineage.is_file():
        for row in json.loads(lineage.read_text(encoding="utf-8")):
            if row["node"] == "StatisticsGen" and Path(row["uri"]).is_dir():
                return Path(row["uri"])
    kept = registry.previous_statistics()
    if kept and kept.run_id in registry.runs():
        data = read_record(registry.runs()[kept.run_id]).data
        if (data.fingerprint, data.split_sha256) == (record.data.fingerprint, record.data.split_sha256):
            return kept.folder
    raise UserError(
        f"the statistics of the images that version {record.pushed_version} was trained on are gone "
        f"(run {record.run_id}): give them with --statistics"
    )


def _statistics(folder: Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    try:
        return read_statistics(folder)["train"]
    except OSError as error:
        raise UserError(
            f"no statistics: {error.filename}: {error.strerror}; name a folder that StatisticsGen wrote"
        ) from None
    except message.DecodeError:
        raise UserError(f"the statistics in {folder} are damaged") from None
