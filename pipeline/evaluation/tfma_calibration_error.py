"""TFMA metric: how far probabilities are from the shares that they announce."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import apache_beam as beam
import tensorflow_model_analysis as tfma

from pipeline import features
from pipeline.evaluation.patient_sample import CALIBRATION_BINS

_Gaps = tuple[int, list[float]]  # images, and label minus score summed in each bin


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
        return 0, [0.0] * CALIBRATION_BINS

    def add_input(self, accumulator: _Gaps, element: Any) -> _Gaps:
        """Adds an image."""
        score = float(element.get_predictions()[features.SCORE].item())
        images, gaps = accumulator
        gaps[min(int(score * CALIBRATION_BINS), CALIBRATION_BINS - 1)] += element.get_labels().item() - score
        return images + 1, gaps

    def merge_accumulators(self, accumulators: Iterable[_Gaps]) -> _Gaps:
        """Adds up what workers found."""
        counts, gaps = zip(*accumulators, strict=True)
        return sum(counts), [sum(bin_gaps) for bin_gaps in zip(*gaps, strict=True)]

    def extract_output(self, accumulator: _Gaps) -> dict[Any, float]:
        """As TFMA wants it."""
        images, gaps = accumulator
        return {self._key: sum(map(abs, gaps)) / images if images else float("nan")}
