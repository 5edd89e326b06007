"""Images of some patients with their labels, whose metrics are computed for any weighting of the patients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Sample(ABC):
    """Images of some patients with their labels; subclasses add predictions and metrics.

    Resamples of a bootstrap are weightings of the patients; the metrics of all of them are computed at once.
    The plain metrics weight every patient with 1.

    Attributes:
        patients: patient identifiers, sorted, str [patients].
        images: image names, sorted, str [images].
        labels: indices into the classes, int64 [images].
        strata: class of each patient for a stratified bootstrap, [patients].
        correct: whether each image is classified correctly, bool [images].
    """

    strata: NDArray[Any]
    correct: NDArray[Any]

    def __init__(
        self,
        *,
        images: Sequence[str] | NDArray[Any],
        patients: Sequence[str] | NDArray[Any],
        labels: Sequence[int] | NDArray[Any],
        predictions: Sequence[Any] | NDArray[Any],
    ) -> None:
        """Initialize the sample.

        Args:
            images: unique image names, [images].
            patients: patient of each image, [images].
            labels: indices into the classes, [images].
            predictions: of each image, [images, ...].

        Raises:
            ValueError: the lengths differ, or an image name occurs twice.
        """
        if not len(images) == len(patients) == len(labels) == len(predictions):
            raise ValueError("images, patients, labels and predictions differ in length")
        order = np.argsort(np.asarray(images, dtype=str), kind="stable")
        self.images = np.asarray(images, dtype=str)[order]
        self.labels = np.asarray(labels, dtype=np.int64)[order]
        if np.any(self.images[1:] == self.images[:-1]):
            raise ValueError("an image name occurs twice")
        self._order = order
        self.patients, self._owner = np.unique(np.asarray(patients, dtype=str)[order], return_inverse=True)

    def metrics(self) -> dict[str, float]:
        """Return each metric; NaN where one is undefined, such as an AUC over one class."""
        weighted = self.weighted_metrics(np.ones((1, len(self.patients))))
        return {name: float(values[0]) for name, values in weighted.items()}

    @abstractmethod
    def weighted_metrics(self, weights: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return each metric under each weighting, float64 [weightings].

        Args:
            weights: number of times that each patient counts, [weightings, patients].
        """

    def image_counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Return the number of images of each class.

        Args:
            classes: names in the order of the labels.
        """
        counts = np.bincount(self.labels, minlength=len(classes)).tolist()
        return dict(zip(classes, counts, strict=True))

    def patient_counts(self, classes: Sequence[str]) -> dict[str, int]:
        """Return the number of patients with images of each class.

        Args:
            classes: names in the order of the labels.
        """
        pairs = np.unique(np.stack([self._owner, self.labels]), axis=1)
        counts = np.bincount(pairs[1], minlength=len(classes)).tolist()
        return dict(zip(classes, counts, strict=True))

    def sum_by_patient(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return the sum over the images of each patient, [patients]."""
        return np.bincount(self._owner, weights=values, minlength=len(self.patients))


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> NDArray[Any]:
    """Return the quotient; NaN where the denominator is 0."""
    undefined = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=undefined, where=np.asarray(denominator) != 0)
