"""Judges what one version of a model was asked: whether it is what the model was made for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2, statistics_pb2

from components.data_gate.drift import Distance, measure_drift, measure_skew
from pipeline import features
from serving.monitoring.answer_drift import AnswerDrift, measure_answer_drift
from serving.monitoring.read_log import MEASURED
from serving.monitoring.reference import Reference

_WHOLE: Final = (features.WIDTH, features.HEIGHT)


@dataclass(frozen=True)
class Judgement:
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
        return float(1 - self.frame[features.IN_DISTRIBUTION].mean())

    @property
    def patients(self) -> int:
        """Those that are told apart; 0 where none was named."""
        return int(self.frame["patient"].nunique())

    @property
    def reasons(self) -> Counter[str]:
        """Why images were doubted, the most frequent first."""
        return Counter(dict(Counter(self.frame[features.REASONS].explode().dropna()).most_common()))

    @property
    def labels(self) -> dict[str, int]:
        """How many images were called what."""
        return dict(sorted(Counter(self.frame[features.PREDICTED_LABEL]).items()))

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


def judge_requests(
    frame: Any,
    *,
    reference: Reference,
    schema: schema_pb2.Schema,
    doubted_limit: float,
    earlier: Any | None = None,
) -> Judgement:
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
    return Judgement(
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
