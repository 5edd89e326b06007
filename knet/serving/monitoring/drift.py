"""Drift of a model's outputs from those of evaluated images, and thresholds from resampled patients."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial.distance import jensenshannon

from knet.base import schema_names
from knet.base.errors import UserError


@dataclass(frozen=True)
class OutputDrift:
    """Distance of a model output between logged requests and evaluated images."""

    name: str  # score or distance; of more than two classes also label, of a group positive_score
    value: float  # Jensen-Shannon divergence, 0 to 1
    threshold: float | None  # None with too few patients; the distance is not tested then
    edges: tuple[float, ...]  # of the buckets; of a label, around the index of each class
    served: tuple[float, ...]  # images by bucket
    evaluated: tuple[float, ...]
    low: float  # lowest and highest evaluated value
    high: float

    @property
    def degenerate(self) -> bool:
        """Whether all evaluated values are within one bucket's width, as of a model that learned nothing."""
        return self.high - self.low < self.edges[1] - self.edges[0]

    @property
    def degeneracy(self) -> str:
        """Description of a degenerate output."""
        values = (
            "the same" if self.name == schema_names.PREDICTED_LABEL else f"{self.low:.3f} to {self.high:.3f}"
        )
        return f"degenerate ({values} for all evaluated images), so it is not compared"

    @property
    def drifted(self) -> bool:
        """Whether the distance is above the threshold; that of a degenerate output means nothing."""
        return not self.degenerate and self.threshold is not None and self.value > self.threshold


def measure_output_drift(frame: Any, *, predictions: Any, positive: Sequence[str] = ()) -> list[OutputDrift]:
    """Compare histograms of score and distance, and of more than two classes those of label and group.

    The threshold estimates the distance between different patients of the same population: the largest
    distance between two halves of the evaluated patients, over 400 random splits of each class, rounded up to
    the next 0.05 like the schema's thresholds. It needs two patients of each class.

    Args:
        frame: rows of `LoggedRequests.frame`.
        predictions: data frame of `read_predictions`; the distance may be missing.
        positive: positive group of more than two classes.

    Raises:
        UserError: the predictions are of another number of classes.
    """
    drifts = []
    for name, (served, evaluated, edges) in _outputs(frame, predictions, positive=positive).items():
        counts = [count_buckets(values, edges) for values in (served, evaluated)]
        by_class = patient_histograms(
            evaluated,
            edges,
            labels=predictions[schema_names.LABEL],
            patients=predictions[schema_names.PATIENT],
        )
        drifts.append(
            OutputDrift(
                name=name,
                value=js_divergence(*counts),
                threshold=split_half_threshold(by_class),
                edges=tuple(edges.tolist()),
                served=tuple(counts[0].tolist()),
                evaluated=tuple(counts[1].tolist()),
                low=float(evaluated.min()),
                high=float(evaluated.max()),
            )
        )
    return drifts


_Output: TypeAlias = tuple[Any, NDArray[Any], NDArray[np.floating]]  # served and evaluated values, edges


def _outputs(frame: Any, predictions: Any, *, positive: Sequence[str]) -> dict[str, _Output]:
    """Return the compared outputs by name; labels are indices, with a bucket for each class."""
    outputs = {
        name: (frame[name], np.asarray(predictions[name]), bucket_edges(name, predictions))
        for name in (schema_names.SCORE, schema_names.DISTANCE)
        if name in predictions
    }
    classes = class_names(frame)
    probabilities = _probabilities(predictions)
    if probabilities.shape[1] != (len(classes) or 2):
        raise UserError(
            f"the predictions are of {probabilities.shape[1]} classes, and the requests of "
            f"{len(classes) or 2}: name the predictions of the model that answered"
        )
    index = {name: number for number, name in enumerate(classes)}
    if classes:
        labels = frame[schema_names.PREDICTED_LABEL].map(index)
        edges = np.arange(len(classes) + 1) - 0.5
        outputs[schema_names.PREDICTED_LABEL] = labels, probabilities.argmax(axis=1), edges
    if positive:
        of_group = probabilities[:, [index[name] for name in positive]].sum(axis=1)
        name = schema_names.POSITIVE_SCORE
        outputs[name] = frame[name], of_group, bucket_edges(name, predictions)
    return outputs


def class_names(frame: Any) -> tuple[str, ...]:
    """Return the names of more than two classes, in their order; of two none."""
    logged = frame[schema_names.PROBABILITIES].dropna()
    return tuple(logged.iloc[0]) if len(logged) else ()


def _probabilities(predictions: Any) -> NDArray[np.floating]:
    """Return the probabilities of all classes, [images, classes]; of two, whose table lacks them, none."""
    if schema_names.PROBABILITIES not in predictions:
        return np.empty((len(predictions), 2))
    return np.stack(predictions[schema_names.PROBABILITIES].to_list())


_BUCKETS: Final = 10


def bucket_edges(name: str, predictions: Any) -> NDArray[np.floating]:
    """Edges of ten equal buckets: from 0 to 1 for scores, else over the range of the evaluated values."""
    if name in (schema_names.SCORE, schema_names.POSITIVE_SCORE):
        return np.linspace(0, 1, _BUCKETS + 1)
    low, high = predictions[name].min(), predictions[name].max()
    return np.linspace(low, high if high > low else low + 1, _BUCKETS + 1)


def count_buckets(values: Any, edges: NDArray[np.floating]) -> NDArray[np.floating]:
    """Count values by bucket; values outside the edges count in the outermost, NaN in the last."""
    inside = np.clip(np.nan_to_num(np.asarray(values, dtype=np.float64), nan=np.inf), edges[0], edges[-1])
    return np.histogram(inside, bins=edges)[0].astype(float)


def js_divergence(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Jensen-Shannon divergence, in bits, of two histograms over the same buckets."""
    return float(np.nan_to_num(jensenshannon(first, second, base=2)) ** 2)  # rounding may go below 0


_SPLITS: Final = 400  # random splits of the patients into halves
_SEED: Final = 0
_STEP: Final = 0.05  # of thresholds


def scalar_thresholds(scalars: Any) -> dict[str, float]:
    """Return the threshold of each pixel scalar, as of outputs, from the patients of the training images.

    Args:
        scalars: data frame with patient, label and the scalars of each training image.

    Returns:
        Thresholds by feature; empty with fewer than two patients of a class.
    """
    thresholds = {}
    for name in schema_names.IMAGE_SCALARS:
        by_class = patient_histograms(
            scalars[name].to_numpy(),
            bucket_edges(name, scalars),
            labels=scalars[schema_names.LABEL],
            patients=scalars[schema_names.PATIENT],
        )
        threshold = split_half_threshold(by_class)
        if threshold is not None:
            thresholds[name] = threshold
    return thresholds


def patient_histograms(
    values: NDArray[Any], edges: NDArray[np.floating], *, labels: Any, patients: Any
) -> list[NDArray[np.floating]]:
    """Count the values of each patient by bucket, for each class [patients, buckets].

    Args:
        values: of the images, [images].
        edges: of the buckets.
        labels: indices into the classes, [images].
        patients: patient of each image, [images].
    """
    rows = pd.DataFrame({"label": np.asarray(labels), "patient": np.asarray(patients)})
    by_class: defaultdict[Any, list[NDArray[np.floating]]] = defaultdict(list)
    for (label, _), indices in sorted(rows.groupby(["label", "patient"]).indices.items()):
        by_class[label].append(count_buckets(values[indices], edges))
    return [np.stack(of_class) for of_class in by_class.values()]


def split_half_threshold(by_class: Sequence[NDArray[np.floating]]) -> float | None:
    """Largest distance between two halves of the patients, over random splits of each class, rounded up.

    Args:
        by_class: of `patient_histograms`.

    Returns:
        A multiple of 0.05, or None with a class of one patient, or one class.
    """
    if len(by_class) < 2 or min(map(len, by_class)) < 2:
        return None
    generator = np.random.default_rng(_SEED)
    distances = []
    for _ in range(_SPLITS):
        halves = np.zeros((2, by_class[0].shape[1]))
        for patients in by_class:
            order = generator.permutation(len(patients))
            for half in range(2):
                halves[half] += patients[order[half::2]].sum(axis=0)
        distances.append(js_divergence(*halves))
    return _STEP * max(math.ceil(max(distances) / _STEP), 1)
