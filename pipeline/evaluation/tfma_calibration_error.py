"""TFMA metric: how far probabilities are from the shares that they announce."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow_model_analysis as tfma
from numpy.typing import NDArray

from pipeline import features
from pipeline.evaluation.patient_sample import CALIBRATION_BINS

_Gaps = tuple[int, NDArray[Any]]  # images, and label minus score summed in each bin


class CalibrationError(tfma.metrics.Metric):
    """Expected calibration error of the positive class, over ten bins of equal width."""

    def __init__(self, name: str = "calibration_error") -> None:
        """Takes the metric's name."""
        super().__init__(_computations, name=name)


def _computations(name: str) -> list[Any]:
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
        scores = element.get_predictions()[features.SCORE].reshape(-1).astype(np.float64)
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
