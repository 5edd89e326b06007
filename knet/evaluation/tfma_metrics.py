"""TFMA metrics that TFMA itself lacks: by patient, and the expected calibration error.

The definitions are those of `knet.evaluation.binary_metrics` and `knet.models.reliability`; the combiners
here only add up what these need over Beam's workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from numpy.typing import NDArray

from knet.base import schema_names
from knet.evaluation.binary_metrics import correct_decisions, recognition_rates
from knet.evaluation.multiclass_metrics import MulticlassSample
from knet.models.reliability import BINS, bin_residuals, expected_calibration_error

_FEATURES: Final = "features"  # key of TFMA's extracts
_IMAGES: Final = "images"  # name of the number of images

# By patient: number of images, of correctly classified images, sum of scores, and label.
_Sums = dict[bytes, tuple[int, int, float, int]]


class PatientRecognitionRate(tfma.metrics.Metric):
    """Mean over patients of the share of their images that are classified correctly (Spanhol, 2016)."""

    def __init__(self, threshold: float, name: str = "patient_recognition_rate") -> None:
        """Initialize with the score from which an image is classified as positive."""
        super().__init__(_patient_computations(_recognition_rate), threshold=threshold, name=name)


class PatientDecisionAccuracy(tfma.metrics.Metric):
    """Share of patients whose mean score is on the correct side of the threshold."""

    def __init__(self, threshold: float, name: str = "patient_decision_accuracy") -> None:
        """Initialize with the mean score from which a patient is classified as positive."""
        super().__init__(_patient_computations(_decision_accuracy), threshold=threshold, name=name)


class ImageCount(tfma.metrics.Metric):
    """Number of images; TFMA's ExampleCount counts batches of extracts instead."""

    def __init__(self, threshold: float, name: str = "images") -> None:
        """Initialize with the threshold of the other metrics, so that all of them share one combiner."""
        super().__init__(_patient_computations(_image_count), threshold=threshold, name=name)


def _patient_computations(metric: Callable[[_Sums, float], float]) -> Callable[..., list[Any]]:
    def create(name: str, threshold: float) -> list[Any]:
        # TFMA computes equal keys once, and does not output keys with a leading underscore.
        sums = tfma.metrics.MetricKey(name=f"_patient_sums_{threshold}")
        key = tfma.metrics.MetricKey(name=name)

        def result(metrics: dict[Any, Any]) -> dict[Any, float]:
            return {key: metric(metrics[sums], threshold)}

        return [
            tfma.metrics.MetricComputation(
                keys=[sums],
                preprocessors=[tfma.metrics.FeaturePreprocessor(feature_keys=[schema_names.PATIENT])],
                combiner=PatientSums(sums, threshold=threshold),
            ),
            tfma.metrics.DerivedMetricComputation(keys=[key], result=result),
        ]

    return create


class PatientSums(beam.CombineFn):
    """Sums over the images of each patient; an accumulator grows with the patients, not the images."""

    def __init__(self, key: tfma.metrics.MetricKey, *, threshold: float) -> None:
        self._key = key
        self._threshold = threshold

    def create_accumulator(self) -> _Sums:
        """Return the sums over no images."""
        return {}

    def add_input(self, accumulator: _Sums, element: Any) -> _Sums:
        """Add one image, or a batch."""
        scores = element.get_predictions()[schema_names.SCORE].reshape(-1).astype(np.float64)
        labels = element.get_labels().reshape(-1).astype(int)
        correct = (scores >= self._threshold) == (labels == 1)
        by_image = np.broadcast_to(element[_FEATURES][schema_names.PATIENT], len(scores))
        patients, first, owner = np.unique(by_image, return_index=True, return_inverse=True)
        sums = [
            np.bincount(owner).tolist(),
            np.bincount(owner, weights=correct).astype(int).tolist(),
            np.bincount(owner, weights=scores).tolist(),
            labels[first].tolist(),
        ]
        for patient, *values in zip(patients, *sums, strict=True):
            _add(accumulator, patient, tuple(values))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        """Add up the sums of several workers."""
        merged: _Sums = {}
        for accumulator in accumulators:
            for patient, sums in accumulator.items():
                _add(merged, patient, sums)
        return merged

    def extract_output(self, accumulator: _Sums) -> dict[Any, _Sums]:
        """Return the sums under their key."""
        return {self._key: accumulator}


def _add(accumulator: _Sums, patient: bytes, sums: tuple[int, int, float, int]) -> None:
    images, correct, score, _ = accumulator.get(patient, (0, 0, 0.0, 0))
    accumulator[patient] = (images + sums[0], correct + sums[1], score + sums[2], sums[3])


def _image_count(sums: _Sums, _: float) -> float:
    return float(_columns(sums)[0].sum())


def _recognition_rate(sums: _Sums, _: float) -> float:
    images, correct, _scores, _labels = _columns(sums)
    return _mean(recognition_rates(correct, images))


def _decision_accuracy(sums: _Sums, threshold: float) -> float:
    images, _, scores, labels = _columns(sums)
    return _mean(correct_decisions(scores, images, positive=labels == 1, threshold=threshold))


def _columns(sums: _Sums) -> NDArray[np.float64]:
    """Return images, correct images, score sums and labels, each [patients]."""
    return np.array(list(sums.values()), dtype=np.float64).reshape(-1, 4).T


def _mean(by_patient: NDArray[Any]) -> float:
    return float(by_patient.mean()) if by_patient.size else float("nan")


class CalibrationError(tfma.metrics.Metric):
    """Expected calibration error of the positive class's probability."""

    def __init__(self, name: str = "calibration_error") -> None:
        """Initialize with the name of the metric."""
        super().__init__(_calibration_computations, name=name)


def _calibration_computations(name: str) -> list[Any]:
    key = tfma.metrics.MetricKey(name=name)
    return [tfma.metrics.MetricComputation(keys=[key], preprocessors=None, combiner=BinResiduals(key))]


_Residuals = tuple[int, NDArray[Any]]  # number of images, and `bin_residuals` over them


class BinResiduals(beam.CombineFn):
    """Calibration residuals of each bin."""

    def __init__(self, key: tfma.metrics.MetricKey) -> None:
        self._key = key

    def create_accumulator(self) -> _Residuals:
        """Return the residuals of no images."""
        return 0, np.zeros(BINS)

    def add_input(self, accumulator: _Residuals, element: Any) -> _Residuals:
        """Add one image, or a batch."""
        scores = element.get_predictions()[schema_names.SCORE].reshape(-1).astype(np.float64)
        images, residuals = accumulator
        added = bin_residuals(scores, element.get_labels().reshape(-1))
        return images + len(scores), residuals + added

    def merge_accumulators(self, accumulators: Iterable[_Residuals]) -> _Residuals:
        """Add up the residuals of several workers."""
        counts, residuals = zip(*accumulators, strict=True)
        return sum(counts), np.sum(residuals, axis=0)

    def extract_output(self, accumulator: _Residuals) -> dict[Any, float]:
        """Return the error under its key."""
        images, residuals = accumulator
        return {self._key: float(expected_calibration_error(residuals, images))}


class ClassMetrics(tfma.metrics.Metric):
    """All metrics of more than two classes, and those of each class (`MulticlassSample.all_metrics`)."""

    def __init__(
        self,
        classes: Sequence[str],
        positive: Sequence[str] = (),
        threshold: float | None = None,
        name: str = "multiclass_metrics",
    ) -> None:
        """Initialize the metric.

        Args:
            classes: names in the order of the labels.
            positive: names of the positive group; empty if there is none.
            threshold: probability of the group from which an image is classified as positive; None without
                one.
            name: required by TFMA; the metrics have names of their own.
        """
        super().__init__(
            _class_computations, classes=classes, positive=positive, threshold=threshold, name=name
        )


def _class_computations(
    name: str, classes: Sequence[str], positive: Sequence[str], threshold: float | None
) -> list[Any]:
    combiner = ClassRows(classes, positive=positive, threshold=threshold)
    return [
        tfma.metrics.MetricComputation(
            keys=list(combiner.extract_output([])),
            preprocessors=[tfma.metrics.FeaturePreprocessor(feature_keys=[schema_names.PATIENT])],
            combiner=combiner,
        )
    ]


_Rows = list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]  # patients, labels and probabilities


class ClassRows(beam.CombineFn):
    """Labels and probabilities of the images, which areas under curves need all of.

    An accumulator grows with the images, by some 100 bytes each.
    """

    def __init__(
        self, classes: Sequence[str], *, positive: Sequence[str] = (), threshold: float | None = None
    ) -> None:
        self._classes = tuple(classes)
        self._positive = [self._classes.index(label) for label in positive]
        self._threshold = threshold

    def create_accumulator(self) -> _Rows:
        """Return no rows."""
        return []

    def add_input(self, accumulator: _Rows, element: Any) -> _Rows:
        """Add one image, or a batch."""
        labels = element.get_labels().reshape(-1).astype(np.int64)
        probabilities = element.get_predictions()[schema_names.PROBABILITIES].reshape(len(labels), -1)
        patients = np.broadcast_to(element[_FEATURES][schema_names.PATIENT], len(labels))
        accumulator.append((patients, labels, probabilities))
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[_Rows]) -> _Rows:
        """Join the rows of several workers."""
        return [rows for accumulator in accumulators for rows in accumulator]

    def extract_output(self, accumulator: _Rows) -> dict[Any, float]:
        """Return the metrics by key."""
        empty = (np.zeros(0, "S1"), np.zeros(0, np.int64), np.zeros((0, len(self._classes))))
        patients, labels, probabilities = (
            np.concatenate(column) for column in zip(*(accumulator or [empty]), strict=True)
        )
        sample = MulticlassSample(
            images=np.arange(len(labels)).astype(str),
            patients=np.array([patient.decode("utf-8") for patient in patients], dtype=str),
            labels=labels,
            probabilities=probabilities,
            positive=self._positive,
            threshold=np.nan if self._threshold is None else self._threshold,
        )
        found = {_IMAGES: float(len(labels)), **sample.all_metrics(self._classes)}
        return {tfma.metrics.MetricKey(name=name): value for name, value in found.items()}
