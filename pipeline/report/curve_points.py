"""The points of ROC and precision-recall curves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

MOST = 150  # points of a curve, so that the page of thousands of images stays small

Point = tuple[float, float]


@dataclass(frozen=True)
class CurvePoints:
    """Both curves of some scores, and where a threshold stands on them."""

    roc: list[Point]  # false positive rate, true positive rate; from (0, 0) to (1, 1)
    precision_recall: list[Point]  # recall, precision
    roc_at: Point
    precision_recall_at: Point  # its precision is NaN where nothing is called positive


def curve_points(scores: NDArray[Any], labels: NDArray[Any], *, threshold: float) -> CurvePoints | None:
    """Both curves, or None where there are images of one class only.

    Of more than `MOST` points as many are kept, evenly along the curve.

    Args:
        scores: probability of the positive class, [images].
        labels: 0 or 1, [images].
        threshold: the score from which an image is called positive.
    """
    positives, negatives = int(np.sum(labels == 1)), int(np.sum(labels == 0))
    if not positives or not negatives:
        return None
    false_rate, true_rate, _ = metrics.roc_curve(labels, scores)
    precision, recall, _ = metrics.precision_recall_curve(labels, scores, drop_intermediate=True)
    called = scores >= threshold
    hits, alarms = int(np.sum(called & (labels == 1))), int(np.sum(called & (labels == 0)))
    return CurvePoints(
        roc=_thinned(false_rate, true_rate),
        precision_recall=_thinned(recall, precision),
        roc_at=(alarms / negatives, hits / positives),
        precision_recall_at=(hits / positives, hits / (hits + alarms) if hits + alarms else math.nan),
    )


def _thinned(x: NDArray[Any], y: NDArray[Any]) -> list[Point]:
    places = np.arange(len(x))
    if len(x) > MOST:
        places = np.linspace(0, len(x) - 1, MOST).round().astype(int)
    return list(zip(x[places].tolist(), y[places].tolist(), strict=True))
