"""Compares the logged requests of one model version with its training and evaluation data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import tensorflow_data_validation as tfdv
from google.protobuf import message
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from knet.base import node_ids, run_files, schema_names
from knet.base.errors import UserError
from knet.base.files import read_json
from knet.data.schema_edits import read_schema
from knet.data.validation import Distance, measure_drift, measure_skew, read_statistics
from knet.evaluation.predictions import read_predictions
from knet.report.queries import find_version
from knet.runs.record import RunRecord, read_record
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from knet.serving.monitoring.drift import OutputDrift, class_names, measure_output_drift, scalar_thresholds
from knet.serving.monitoring.read_log import MEASURED


@dataclass(frozen=True)
class Reference:
    """Training and evaluation data of a model version."""

    statistics: statistics_pb2.DatasetFeatureStatisticsList  # of the train split
    predictions: Any  # data frame of test and validation images; None without predictions
    origin: str  # short description of the source
    synthetic: bool = False  # whether the training images are the synthetic samples
    positive: tuple[str, ...] = ()  # positive group of more than two classes
    scalars: Any = None  # data frame of the training images by patient; None leaves the schema's thresholds


@dataclass(frozen=True)
class RequestAnalysis:
    """Results for the logged requests of one model version."""

    version: int
    frame: Any  # rows of LoggedRequests.frame
    reference: Reference
    statistics: Any  # DatasetFeatureStatisticsList of the measured images
    anomalies: dict[str, str]  # description by feature, from the schema's environment SERVING
    skew: tuple[Distance, ...]  # from the training images
    drift: tuple[Distance, ...]  # from the baseline log; empty without one
    outputs: tuple[OutputDrift, ...]  # from the evaluated images; empty without predictions
    max_ood_share: float

    @property
    def ood_share(self) -> float:
        """Share of images flagged as out of distribution, 0 to 1."""
        return float(1 - self.frame[schema_names.IN_DISTRIBUTION].mean())

    @property
    def patients(self) -> int:
        """Number of patients; 0 if no request named one."""
        return int(self.frame["patient"].nunique())

    @property
    def reasons(self) -> Counter[str]:
        """Number of images by the reason they were flagged, most frequent first."""
        return Counter(dict(Counter(self.frame[schema_names.REASONS].explode().dropna()).most_common()))

    @property
    def labels(self) -> dict[str, int]:
        """Number of images by predicted label."""
        return dict(sorted(Counter(self.frame[schema_names.PREDICTED_LABEL]).items()))

    @property
    def evaluated_labels(self) -> dict[str, float]:
        """Share of evaluated images by predicted label, of more than two classes; empty if not compared."""
        by_label = [one for one in self.outputs if one.name == schema_names.PREDICTED_LABEL]
        return {
            name: count / sum(output.evaluated)
            for output in by_label
            for name, count in zip(class_names(self.frame), output.evaluated, strict=True)
        }

    @property
    def unusable(self) -> dict[str, int]:
        """Number of images that ingestion would reject, by reason."""
        return dict(Counter(self.frame["unusable"].dropna()).most_common())

    @property
    def notes(self) -> list[str]:
        """Outputs that say nothing about drift, one line each."""
        return [f"{output.name}: {output.degeneracy}" for output in self.outputs if output.degenerate]

    @property
    def findings(self) -> list[str]:
        """Deviations from the training and evaluation data, one line each."""
        findings = [f"{feature}: {text}" for feature, text in self.anomalies.items()]
        for distances, origin in ((self.skew, "the training images"), (self.drift, "the baseline log")):
            findings += [_describe(distance, origin) for distance in distances if distance.drifted]
        findings += [
            f"{output.name}: {output.value:.3f} from the evaluated images, above {output.threshold:.3f}"
            for output in self.outputs
            if output.drifted
        ]
        if self.ood_share > self.max_ood_share:
            findings.append(
                f"{self.ood_share:.1%} of the images out of distribution, above {self.max_ood_share:.1%}"
            )
        return findings


def analyze_requests(
    frame: Any,
    *,
    reference: Reference,
    schema: schema_pb2.Schema,
    max_ood_share: float,
    baseline: Any | None = None,
) -> RequestAnalysis:
    """Compare the logged requests of one version with its training and evaluation data.

    Args:
        frame: rows of `LoggedRequests.frame` of one version, at least one of them measured.
        reference: training and evaluation data to compare with.
        schema: schema whose environment SERVING constrains served images, and whose skew and drift
            comparators are Jensen-Shannon divergences; their thresholds are the least ones.
        max_ood_share: largest accepted share of images flagged as out of distribution, 0 to 1.
        baseline: rows of an earlier log, of any version, to measure drift from.
    """
    measurable = _measurable(schema)
    thresholds = {} if reference.scalars is None else scalar_thresholds(reference.scalars)
    statistics = served_statistics(frame, schema=measurable)
    anomalies = tfdv.validate_statistics(statistics, measurable, environment="SERVING").anomaly_info
    return RequestAnalysis(
        version=int(frame["version"].iloc[0]),
        frame=frame,
        reference=reference,
        statistics=statistics,
        anomalies={feature: info.description for feature, info in sorted(anomalies.items())},
        skew=_with_thresholds(
            measure_skew(reference.statistics, served=statistics, schema=measurable), thresholds
        ),
        drift=()
        if baseline is None
        else _with_thresholds(
            measure_drift(
                statistics, previous=served_statistics(baseline, schema=measurable), schema=measurable
            ),
            thresholds,
        ),
        outputs=()
        if reference.predictions is None
        else tuple(
            measure_output_drift(frame, predictions=reference.predictions, positive=reference.positive)
        ),
        max_ood_share=max_ood_share,
    )


def _with_thresholds(distances: Sequence[Distance], thresholds: Mapping[str, float]) -> tuple[Distance, ...]:
    """Raise the schema's thresholds to those of the training patients, by feature."""
    return tuple(
        replace(distance, threshold=max(distance.threshold, thresholds.get(distance.feature, 0)))
        for distance in distances
    )


def served_statistics(
    frame: Any, *, schema: schema_pb2.Schema
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """Compute TFDV statistics of the measured images, with the types of ingested examples."""
    measured = frame.loc[frame["unusable"].isna(), list(MEASURED)].reset_index(drop=True)
    types = {
        name: np.int64 if name in (schema_names.WIDTH, schema_names.HEIGHT) else np.float32
        for name in MEASURED
    }
    return tfdv.generate_statistics_from_dataframe(measured.astype(types), tfdv.StatsOptions(schema=schema))


def _measurable(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """The schema of the features that a log has."""
    measurable = schema_pb2.Schema()
    measurable.CopyFrom(schema)
    del measurable.feature[:]
    measurable.feature.extend(feature for feature in schema.feature if feature.name in MEASURED)
    return measurable


def _describe(distance: Distance, origin: str) -> str:
    if distance.value is None:
        return f"{distance.feature}: cannot be compared with {origin}, whose statistics lack it"
    return f"{distance.feature}: {distance.value:.3f} from {origin}, above {distance.threshold:g}"


def load_reference(statistics: Path, predictions: Path | None) -> Reference:
    """Load a reference from files.

    Args:
        statistics: output folder of StatisticsGen.
        predictions: Parquet file, as in `predictions/` beside a report; None compares no outputs.

    Raises:
        UserError: a file cannot be read.
    """
    return Reference(
        statistics=_statistics(statistics),
        predictions=None if predictions is None else read_predictions(predictions),
        origin=str(statistics),
    )


def reference_of_version(version: int, workspace: Workspace) -> Reference:
    """Load the reference of the run that pushed a version.

    Raises:
        UserError: no run pushed the version, or its statistics were deleted.
    """
    registry = RunRegistry(workspace.registry)
    record = find_version(str(version), registry, where=workspace.root)
    folder = workspace.reports / record.run_id
    predictions = folder / run_files.PREDICTIONS / f"{record.winner}.parquet"
    scalars = folder / run_files.TRAINING_SCALARS
    return Reference(
        statistics=_statistics(_folder_of_statistics(record, folder, registry)),
        predictions=read_predictions(predictions) if predictions.is_file() else None,
        origin=f"run {record.run_id}",
        synthetic=record.data.synthetic,
        positive=record.candidates[record.winner].info.positive if record.winner else (),
        scalars=pd.read_parquet(scalars) if scalars.is_file() else None,
    )


def find_schema(configured: Path | None, workspace: Workspace, *, default: Path) -> schema_pb2.Schema:
    """Find the schema: the configured one, else that of the last successful run, else the default.

    Args:
        configured: the setting `data.schema_file`.
        workspace: workspace of the runs.
        default: curated schema of runs that configure none.

    Raises:
        UserError: the file is missing, is not a schema, or has no skew comparator.
    """
    stored = RunRegistry(workspace.registry).previous_statistics()
    file = configured or (stored.schema if stored else default)
    schema = read_schema(file)
    if not any(feature.HasField("skew_comparator") for feature in schema.feature):
        raise UserError(
            f"{file} has no skew_comparator, so no feature can be compared: add one, "
            "or set data.schema_file to another schema"
        )
    return schema


def _folder_of_statistics(record: RunRecord, folder: Path, registry: RunRegistry) -> Path:
    """Output of the run's StatisticsGen, else the registry's copy if it is of the same data."""
    lineage = folder / run_files.LINEAGE
    for row in read_json(lineage, remedy="restore it, or delete it") or ():
        if row["node"] == node_ids.STATISTICS_GEN and Path(row["uri"]).is_dir():
            return Path(row["uri"])
    stored = registry.previous_statistics()
    if stored and stored.run_id in registry.runs():
        data = read_record(registry.runs()[stored.run_id]).data
        if (data.fingerprint, data.split_sha256) == (record.data.fingerprint, record.data.split_sha256):
            return stored.folder
    raise UserError(
        f"the statistics of the images that version {record.pushed_version} was trained on were deleted "
        f"(run {record.run_id}): name a copy with --statistics"
    )


def _statistics(folder: Path) -> statistics_pb2.DatasetFeatureStatisticsList:
    try:
        return read_statistics(folder)[schema_names.TRAIN]
    except OSError as error:
        raise UserError(
            f"no statistics: {error.filename}: {error.strerror}; name a folder that StatisticsGen wrote"
        ) from None
    except message.DecodeError:
        raise UserError(
            f"the statistics in {folder} are damaged: name another folder with --statistics"
        ) from None
