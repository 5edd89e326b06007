"""The metrics of a candidate's probabilities, for any weighting of the patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

METRICS: Final = (
    "accuracy",  # the image recognition rate
    "balanced_accuracy",
    "precision",  # of the positive class, likewise recall and F1
    "recall",
    "specificity",
    "f1",
    "roc_auc",
    "pr_auc",
    "calibration_error",
    "brier",
    "patient_recognition_rate",
    "patient_decision_accuracy",
)
CALIBRATION_BINS: Final = 10
_AT_ONCE = 4_000_000  # weights of images held in memory


class PatientSample:
    """Some patients' images, with what is true and what was predicted.

    A bootstrap's resamples are weightings of the patients, and all of them are computed at once; the metrics
    themselves are those in which every patient counts once.

    Attributes:
        patients: the names, sorted, [patients].
        positive: whether each is of the positive class, bool [patients].
        images: the names, sorted, [images].
        labels: 1 for the positive class, else 0, int64 [images].
    """

    def __init__(
        self,
        *,
        images: Sequence[str] | NDArray[Any],
        patients: Sequence[str] | NDArray[Any],
        labels: Sequence[int] | NDArray[Any],
        scores: Sequence[float] | NDArray[Any],
        threshold: float = 0.5,
    ) -> None:
        """Takes what there is of each image.

        Args:
            images: unique names.
            patients: whose each is.
            labels: 1 for the positive class, else 0.
            scores: probabilities of the positive class.
            threshold: a probability from it upwards decides for the positive class.

        Raises:
            ValueError: the lengths differ, an image is there twice, a score is no probability, or a patient
                is of both classes.
        """
        if not len(images) == len(patients) == len(labels) == len(scores):
            raise ValueError("images, patients, labels and scores differ in length")
        order = np.argsort(np.asarray(images, dtype=str), kind="stable")
        self.images = np.asarray(images, dtype=str)[order]
        self.labels = np.asarray(labels, dtype=np.int64)[order]
        self._scores = np.asarray(scores, dtype=np.float64)[order]
        self._threshold = threshold
        if np.any(self.images[1:] == self.images[:-1]):
            raise ValueError("an image is there twice")
        if not np.all((self._scores >= 0) & (self._scores <= 1)):  # NaN is neither
            raise ValueError("a score is not a probability")
        self.patients, self._owner = np.unique(np.asarray(patients, dtype=str)[order], return_inverse=True)
        positives = self._of_patients(self.labels)
        self._counts = self._of_patients(np.ones_like(self.labels))
        if np.any((positives != 0) & (positives != self._counts)):
            raise ValueError("a patient is of both classes")
        self.positive: NDArray[Any] = positives > 0

    def confusion(self) -> dict[str, int]:
        """How many images were decided how."""
        decided, true = self._scores >= self._threshold, self.labels == 1
        return {
            "true_negatives": int(np.sum(~decided & ~true)),
            "false_positives": int(np.sum(decided & ~true)),
            "false_negatives": int(np.sum(~decided & true)),
            "true_positives": int(np.sum(decided & true)),
        }

    def metrics(self) -> dict[str, float]:
        """Each of `METRICS`; NaN where one is undefined, such as an AUC over one class."""
        weighted = self.weighted_metrics(np.ones((1, len(self.patients))))
        return {name: float(values[0]) for name, values in weighted.items()}

    def weighted_metrics(self, weights: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Each of `METRICS` under each weighting, float64 [weightings].

        Patient recognition rate: the mean over patients of the share of their images that were decided
        rightly (Spanhol et al., 2016, doi:10.1109/TBME.2015.2496264). Patient decision accuracy: the share of
        patients whose mean probability is on the right side of the threshold. `roc_auc`: the probability that
        a positive image scores higher than a negative one, equal scores counting half. `pr_auc`: average
        precision, without interpolation. `calibration_error`: expected calibration error of the positive
        class's probability over `CALIBRATION_BINS` equal bins (Naeini et al., 2015). `brier`: mean squared
        error of the probability.

        Args:
            weights: how often each patient counts, [weightings, patients].
        """
        table = self._patient_table()
        sums = {name: weights @ values for name, values in table.items()}
        tp, fp, tn, fn = (sums[name] for name in ("tp", "fp", "tn", "fn"))
        images, patients = tp + fp + tn + fn, weights.sum(axis=1)
        recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
        roc_auc, pr_auc = self._areas(weights)
        values = {
            "accuracy": _ratio(tp + tn, images),
            "balanced_accuracy": (recall + specificity) / 2,
            "precision": _ratio(tp, tp + fp),
            "recall": recall,
            "specificity": specificity,
            "f1": _ratio(2 * tp, 2 * tp + fp + fn),
            "roc_auc": roc_auc,
            "pr_auc": pr_auc,
            "calibration_error": _ratio(np.abs(sums["gaps"]).sum(axis=1), images),
            "brier": _ratio(sums["squared_error"], images),
            "patient_recognition_rate": _ratio(sums["recognition"], patients),
            "patient_decision_accuracy": _ratio(sums["decision"], patients),
        }
        return {name: values[name] for name in METRICS}

    def _of_patients(self, values: NDArray[Any]) -> NDArray[Any]:
        """Sums over each patient's images, [patients]."""
        return np.bincount(self._owner, weights=values, minlength=len(self.patients))

    def _patient_table(self) -> dict[str, NDArray[Any]]:
        """What each patient adds to the sums, [patients] or, of the bins, [patients, bins]."""
        decided, true = self._scores >= self._threshold, self.labels == 1
        bins = np.minimum((self._scores * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
        gaps = np.zeros((len(self.patients), CALIBRATION_BINS))
        np.add.at(gaps, (self._owner, bins), self.labels - self._scores)
        mean_scores = _ratio(self._of_patients(self._scores), self._counts)
        return {
            "tp": self._of_patients(decided & true),
            "fp": self._of_patients(decided & ~true),
            "tn": self._of_patients(~decided & ~true),
            "fn": self._of_patients(~decided & true),
            "gaps": gaps,
            "squared_error": self._of_patients((self._scores - self.labels) ** 2),
            "recognition": _ratio(self._of_patients(decided == true), self._counts),
            "decision": ((mean_scores >= self._threshold) == self.positive).astype(float),
        }

    def _areas(self, weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """The areas below both curves, each [weightings]."""
        order = np.argsort(-self._scores, kind="stable")
        scores, owner, labels = self._scores[order], self._owner[order], self.labels[order]
        ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], len(scores) > 0))  # of equal scores
        at_once = max(_AT_ONCE // max(len(scores), 1), 1)
        areas = [
            _curve_areas(weights[start : start + at_once][:, owner], labels, ends)
            for start in range(0, len(weights), at_once)
        ]
        roc_auc, pr_auc = np.concatenate(areas, axis=1)
        return roc_auc, pr_auc


def _curve_areas(weights: NDArray[Any], labels: NDArray[Any], ends: NDArray[Any]) -> NDArray[Any]:
    """ROC-AUC and average precision, [2, weightings], of images sorted from the highest score down.

    Args:
        weights: of the images, [weightings, images].
        labels: [images].
        ends: where the last of each group of equal scores stands.
    """
    tp = np.cumsum(weights * labels, axis=1)[:, ends]
    fp = np.cumsum(weights * (1 - labels), axis=1)[:, ends]
    new_tp = np.diff(tp, axis=1, prepend=0)
    new_fp = np.diff(fp, axis=1, prepend=0)
    positives, negatives = new_tp.sum(axis=1), new_fp.sum(axis=1)
    roc_auc = _ratio((new_fp * (tp - new_tp / 2)).sum(axis=1), positives * negatives)
    precision = np.divide(tp, tp + fp, out=np.zeros_like(tp, dtype=float), where=tp + fp > 0)
    # Without any negative every ranking is as good: that is no finding about the scores.
    pr_auc = _ratio((new_tp * precision).sum(axis=1), np.where(negatives > 0, positives, 0))
    return np.stack([roc_auc, pr_auc])


def _ratio(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """The quotient, NaN where nothing is divided by."""
    undefined = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=undefined, where=np.asarray(whole) != 0)
