"""Judges what one version of a model was asked: whether it is what the model was made for."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import tensorflow_data_validation as tfdv
from google.protobuf import message
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from knet.base import run_files, schema_names
from knet.base.errors import UserError
from knet.data.schema_edits import read_schema
from knet.data.validation import Distance, measure_drift, measure_skew, read_statistics
from knet.evaluation.predictions import read_predictions
from knet.report.queries import find_version
from knet.runs.record import RunRecord, read_record
from knet.runs.registry import RunRegistry
from knet.runs.workspace import Workspace
from knet.serving.monitoring.read_log import MEASURED

_WHOLE: Final = (schema_names.WIDTH, schema_names.HEIGHT)


@dataclass(frozen=True)
class AnswerDrift:
    """A distance, and how large it may be."""

    name: str  # of the output: score or distance
    value: float  # Jensen-Shannon divergence, 0 to 1
    # None where there are too few patients to tell; the distance is then not judged.
    threshold: float | None

    @property
    def drifted(self) -> bool:
        """Whether it is larger than between patients of the same kind."""
        return self.threshold is not None and self.value > self.threshold


@dataclass(frozen=True)
class Reference:
    """The training images, and what the model said of those that it was evaluated on."""

    statistics: statistics_pb2.DatasetFeatureStatisticsList  # of the train split
    predictions: Any  # a data frame of test and validation images; None where there is none
    origin: str  # where they are from, in a few words
    synthetic: bool = False  # whether the training images are the synthetic samples


@dataclass(frozen=True)
class RequestAnalysis:
    """What was found of one version's requests."""

    version: int
    frame: Any  # its answers, as LoggedRequests has them
    reference: Reference
    statistics: Any  # DatasetFeatureStatisticsList of the images that could be measured
    anomalies: dict[str, str]  # by feature, what the schema does not allow of served images
    skew: tuple[Distance, ...]  # from the training images
    drift: tuple[Distance, ...]  # from an earlier log; empty where there is none
    answers: tuple[AnswerDrift, ...]  # empty where there are no predictions to compare with
    doubted_limit: float

    @property
    def doubted(self) -> float:
        """The share of images that the model does not vouch for."""
        return float(1 - self.frame[schema_names.IN_DISTRIBUTION].mean())

    @property
    def patients(self) -> int:
        """Those that are told apart; 0 where none was named."""
        return int(self.frame["patient"].nunique())

    @property
    def reasons(self) -> Counter[str]:
        """Why images were doubted, the most frequent first."""
        return Counter(dict(Counter(self.frame[schema_names.REASONS].explode().dropna()).most_common()))

    @property
    def labels(self) -> dict[str, int]:
        """How many images were called what."""
        return dict(sorted(Counter(self.frame[schema_names.PREDICTED_LABEL]).items()))

    @property
    def unusable(self) -> dict[str, int]:
        """How many images ingestion would have refused, by its reason."""
        return dict(Counter(self.frame["unusable"].dropna()).most_common())

    @property
    def findings(self) -> list[str]:
        """What is not as it was when the model was made, a line each."""
        found = [f"{feature}: {text}" for feature, text in self.anomalies.items()]
        for kind, since in ((self.skew, "the training images"), (self.drift, "the earlier log")):
            found += [_far(distance, since) for distance in kind if distance.drifted]
        found += [
            f"{answer.name}: {answer.value:.3f} from the evaluated images, above {answer.threshold:.3f}"
            for answer in self.answers
            if answer.drifted
        ]
        if self.doubted > self.doubted_limit:
            found.append(f"{self.doubted:.1%} of the images doubted, above {self.doubted_limit:.1%}")
        return found


def analyze_requests(
    frame: Any,
    *,
    reference: Reference,
    schema: schema_pb2.Schema,
    doubted_limit: float,
    earlier: Any | None = None,
) -> RequestAnalysis:
    """Compares the answers of one version with what it was made from.

    Args:
        frame: one version's rows of `LoggedRequests`, at least one of them measured.
        reference: what they are compared with.
        schema: its environment SERVING says what a served image may be like; its skew and drift comparators
            are Jensen-Shannon divergences.
        doubted_limit: the share of images out of distribution that is still well.
        earlier: rows of an earlier log, of any version, to look for drift from.
    """
    measurable = _measurable(schema)
    statistics = served_statistics(frame, schema=measurable)
    anomalies = tfdv.validate_statistics(statistics, measurable, environment="SERVING").anomaly_info
    return RequestAnalysis(
        version=int(frame["version"].iloc[0]),
        frame=frame,
        reference=reference,
        statistics=statistics,
        anomalies={feature: info.description for feature, info in sorted(anomalies.items())},
        skew=tuple(measure_skew(reference.statistics, served=statistics, schema=measurable)),
        drift=()
        if earlier is None
        else tuple(
            measure_drift(
                statistics, previous=served_statistics(earlier, schema=measurable), schema=measurable
            )
        ),
        answers=()
        if reference.predictions is None
        else tuple(measure_answer_drift(frame, predictions=reference.predictions)),
        doubted_limit=doubted_limit,
    )


def served_statistics(
    frame: Any, *, schema: schema_pb2.Schema
) -> statistics_pb2.DatasetFeatureStatisticsList:
    """TFDV's statistics of the images that were measured, with the types of ingested examples."""
    measured = frame.loc[frame["unusable"].isna(), list(MEASURED)].reset_index(drop=True)
    types = {name: np.int64 if name in _WHOLE else np.float32 for name in MEASURED}
    return tfdv.generate_statistics_from_dataframe(measured.astype(types), tfdv.StatsOptions(schema=schema))


def _measurable(schema: schema_pb2.Schema) -> schema_pb2.Schema:
    """The schema's features that a log has; images themselves are not in it."""
    kept = schema_pb2.Schema()
    kept.CopyFrom(schema)
    del kept.feature[:]
    kept.feature.extend(feature for feature in schema.feature if feature.name in MEASURED)
    return kept


def _far(distance: Distance, since: str) -> str:
    if distance.value is None:
        return f"{distance.feature}: cannot be compared with {since}, whose statistics lack it"
    return f"{distance.feature}: {distance.value:.3f} from {since}, above {distance.threshold:g}"


_BUCKETS: Final = 10
_SPLITS: Final = 400  # of the patients into halves
_SEED: Final = 0
_STEP: Final = 0.05


def measure_answer_drift(frame: Any, *, predictions: Any) -> list[AnswerDrift]:
    """Compares histograms of score and distance, as far as the predictions have them.

    The threshold is the largest distance between two halves of the evaluated patients, over 400 random
    halves of each class, rounded up to the next 0.05, as the schema's are: what other patients of the same
    kind would do. It needs two patients of each class.

    Args:
        frame: answers, as `LoggedRequests` has them.
        predictions: a data frame as `read_predictions` gives it.
    """
    found = []
    for name in (schema_names.SCORE, schema_names.DISTANCE):
        if name in predictions:
            edges = bucket_edges(name, predictions)
            value = divergence(*(count(side[name], edges) for side in (frame, predictions)))
            found.append(AnswerDrift(name, value, _between_halves(name, predictions, edges)))
    return found


def bucket_edges(name: str, predictions: Any) -> NDArray[np.floating]:
    """Those of ten buckets: from 0 to 1 for scores, else from the least evaluated value to the largest."""
    if name == schema_names.SCORE:
        return np.linspace(0, 1, _BUCKETS + 1)
    low, high = predictions[name].min(), predictions[name].max()
    return np.linspace(low, high if high > low else low + 1, _BUCKETS + 1)


def count(values: Any, edges: NDArray[np.floating]) -> NDArray[np.floating]:
    """The values in each bucket; those beyond the edges are in the outermost, undefined ones in the last."""
    inside = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float64), nan=np.inf), edges[0], edges[-1])
    return np.histogram(inside, bins=edges)[0].astype(float)


def divergence(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """The Jensen-Shannon divergence of two histograms with counts in the same buckets, in bits."""
    return float(np.nan_to_num(jensenshannon(first, second, base=2)) ** 2)  # rounding may go below 0


def _between_halves(name: str, predictions: Any, edges: NDArray[np.floating]) -> float | None:
    classes = [
        np.stack([count(of_patient[name], edges) for _, of_patient in of_class.groupby(schema_names.PATIENT)])
        for _, of_class in predictions.groupby(schema_names.LABEL)
    ]
    if len(classes) < 2 or min(map(len, classes)) < 2:
        return None
    generator = np.random.default_rng(_SEED)
    distances = []
    for _ in range(_SPLITS):
        halves = np.zeros((2, _BUCKETS))
        for patients in classes:
            order = generator.permutation(len(patients))
            for half in range(2):
                halves[half] += patients[order[half::2]].sum(axis=0)
        distances.append(divergence(*halves))
    return _STEP * max(math.ceil(max(distances) / _STEP), 1)


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


def schema_of(configured: Path | None, workspace: Workspace, *, default: Path) -> schema_pb2.Schema:
    """The configured schema, else that of the last successful run, else the default.

    Args:
        configured: `data.schema_file`.
        workspace: of the runs.
        default: the curated schema that a run without a schema of its own uses.

    Raises:
        UserError: its file is missing, is no schema, or says of no feature how far it may be from training.
    """
    kept = RunRegistry(workspace.registry).previous_statistics()
    file = configured or (kept.schema if kept else default)
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
