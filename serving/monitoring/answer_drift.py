"""How far a model's answers to served images are from those to the patients that it was evaluated on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from pipeline import features

_BUCKETS: Final = 10
_SPLITS: Final = 400  # of the patients into halves
_SEED: Final = 0
_STEP: Final = 0.05


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
    for name in (features.SCORE, features.DISTANCE):
        if name in predictions:
            edges = bucket_edges(name, predictions)
            value = divergence(*(count(side[name], edges) for side in (frame, predictions)))
            found.append(AnswerDrift(name, value, _between_halves(name, predictions, edges)))
    return found


def bucket_edges(name: str, predictions: Any) -> NDArray[np.floating]:
    """Those of ten buckets: from 0 to 1 for scores, else from the least evaluated value to the largest."""
    if name == features.SCORE:
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
        np.stack([count(of_patient[name], edges) for _, of_patient in of_class.groupby(features.PATIENT)])
        for _, of_class in predictions.groupby(features.LABEL)
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
