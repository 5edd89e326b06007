"""TFMA metrics by patient, from sums for each patient, which Beam combines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from numpy.typing import NDArray

from knet.base import schema_names
from knet.evaluation.patient_metrics import CALIBRATION_BINS

# Of a patient: images, rightly decided images, sum of scores, and the label.
_Sums = dict[bytes, tuple[int, int, float, int]]
_FEATURES: Final = "features"  # where TFMA keeps them


class PatientRecognitionRate(tfma.metrics.Metric):
    """The mean over patients of the share of their images that were decided rightly (Spanhol, 2016)."""

    def __init__(self, threshold: float, name: str = "patient_recognition_rate") -> None:
        """Takes the probability from which an image is called positive."""
        super().__init__(_computations(_recognition), threshold=threshold, name=name)


class PatientDecisionAccuracy(tfma.metrics.Metric):
    """The share of patients whose images' mean probability is on the right side of the threshold."""

    def __init__(self, threshold: float, name: str = "patient_decision_accuracy") -> None:
        """Takes the probability from which a patient is called positive."""
        super().__init__(_computations(_decision), threshold=threshold, name=name)


class ImageCount(tfma.metrics.Metric):
    """How many images there are; TFMA's own counts how many it was given at a time."""

    def __init__(self, threshold: float, name: str = "images") -> None:
        """Takes the probability that the others take, so that all of them share the sums."""
        super().__init__(_computations(_images), threshold=threshold, name=name)


class PatientCounts(beam.CombineFn):
    """Sums over each patient's images; an accumulator grows with the patients, not with the images."""

    def __init__(self, key: tfma.metrics.MetricKey, *, threshold: float) -> None:
        self._key = key
        self._threshold = threshold

    def create_accumulator(self) -> _Sums:
        """Of no image."""
        return {}

    def add_input(self, accumulator: _Sums, element: Any) -> _Sums:
        """Adds an image, or several."""
        scores = element.get_predictions()[schema_names.SCORE].reshape(-1).astype(np.float64)
        labels = element.get_labels().reshape(-1).astype(int)
        right = (scores >= self._threshold) == (labels == 1)
        of_images = np.broadcast_to(element[_FEATURES][schema_names.PATIENT], len(scores))
        patients, first, owner = np.unique(of_images, return_index=True, return_inverse=True)
        sums = [
            np.bincount(owner).tolist(),
            np.bincount(owner, weights=right).astype(int).tolist(),
            np.bincount(owner, weights=scores).tolist(),
            labels[first].tolist(),
        ]
        for patient, *values in zip(patients, *sums, strict=True):
            _add(accumulator, patient, tuple(values))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        """Adds up what workers found."""
        merged: _Sums = {}
        for accumulator in accumulators:
            for patient, sums in accumulator.items():
                _add(merged, patient, sums)
        return merged

    def extract_output(self, accumulator: _Sums) -> dict[Any, _Sums]:
        """As TFMA wants it."""
        return {self._key: accumulator}


def _add(accumulator: _Sums, patient: bytes, sums: tuple[int, int, float, int]) -> None:
    images, right, score, _ = accumulator.get(patient, (0, 0, 0.0, 0))
    accumulator[patient] = (images + sums[0], right + sums[1], score + sums[2], sums[3])


def _computations(rate: Callable[[_Sums, float], float]) -> Callable[..., list[Any]]:
    def create(name: str, threshold: float) -> list[Any]:
        # TFMA computes what has the same key once, and shows no key that begins with an underscore.
        counts = tfma.metrics.MetricKey(name=f"_patient_counts_{threshold}")
        key = tfma.metrics.MetricKey(name=name)

        def result(metrics: dict[Any, Any]) -> dict[Any, float]:
            return {key: rate(metrics[counts], threshold)}

        return [
            tfma.metrics.MetricComputation(
                keys=[counts],
                preprocessors=[tfma.metrics.FeaturePreprocessor(feature_keys=[schema_names.PATIENT])],
                combiner=PatientCounts(counts, threshold=threshold),
            ),
            tfma.metrics.DerivedMetricComputation(keys=[key], result=result),
        ]

    return create


def _images(sums: _Sums, _: float) -> float:
    return float(sum(images for images, *_ in sums.values()))


def _recognition(sums: _Sums, _: float) -> float:
    return _mean(right / images for images, right, _, _ in sums.values())


def _decision(sums: _Sums, threshold: float) -> float:
    return _mean((score / images >= threshold) == (label == 1) for images, _, score, label in sums.values())


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return sum(listed) / len(listed) if listed else float("nan")


_Gaps = tuple[int, NDArray[Any]]  # images, and label minus score summed in each bin


class CalibrationError(tfma.metrics.Metric):
    """Expected calibration error of the positive class, over ten bins of equal width."""

    def __init__(self, name: str = "calibration_error") -> None:
        """Takes the metric's name."""
        super().__init__(_calibration_computations, name=name)


def _calibration_computations(name: str) -> list[Any]:
    key = tfma.metrics.MetricKey(name=name)
    return [tfma.metrics.MetricComputation(keys=[key], preprocessors=None, combiner=BinGaps(key))]


class BinGaps(beam.CombineFn):
    """Sums over the images of each bin."""

    def __init__(self, key: tfma.metrics.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> _Gaps:
        """Of no image."""
        return 0, np.zeros(CALIBRATION_BINS)

    def add_input(self, accumulator: _Gaps, element: Any) -> _Gaps:
        """Adds an image, or several."""
        scores = element.get_predictions()[schema_names.SCORE].reshape(-1).astype(np.float64)
        bins = np.minimum((scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        differences = element.get_labels().reshape(-1) - scores
        images, gaps = accumulator
        return images + len(scores), gaps + np.bincount(bins, weights=differences, minlength=CALIBRATION_BINS)

    def merge_accumulators(self, accumulators: Iterable[_Gaps]) -> _Gaps:
        """Adds up what workers found."""
        counts, gaps = zip(*accumulators, strict=True)
        return sum(counts), np.sum(gaps, axis=0)

    def extract_output(self, accumulator: _Gaps) -> dict[Any, float]:
        """As TFMA wants it."""
        images, gaps = accumulator
        return {self._key: float(np.abs(gaps).sum() / images) if images else float("nan")}
