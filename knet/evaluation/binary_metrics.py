"""Metrics of a candidate's predictions of two classes, for any weighting of the patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from knet.evaluation.sample import Sample, ratio
from knet.models.reliability import BINS, bin_indices, expected_calibration_error

METRICS: Final = (
    "accuracy",  # image recognition rate
    "balanced_accuracy",
    "precision",  # precision, recall and F1 are of the positive class
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
_MAX_WEIGHTS = 4_000_000  # image weights held in memory at a time


class BinarySample(Sample):
    """Labels and scores of the images of some patients, of two classes.

    Attributes:
        labels: 1 for the positive class, else 0, int64 [images].
    """

    def __init__(
        self,
        *,
        images: Sequence[str] | NDArray[Any],
        patients: Sequence[str] | NDArray[Any],
        labels: Sequence[int] | NDArray[Any],
        scores: Sequence[float] | NDArray[Any],
        threshold: float | NDArray[Any] = 0.5,
        mixed_patients: bool = False,
    ) -> None:
        """Initialize the sample.

        Args:
            images: unique image names, [images].
            patients: patient of each image, [images].
            labels: 1 for the positive class, else 0, [images].
            scores: probability of the positive class, 0 to 1, [images].
            threshold: score from which an image or a patient is classified as positive; one for all, or one
                for each image, [images], the same for all images of a patient.
            mixed_patients: whether a patient may have images of both classes.

        Raises:
            ValueError: the lengths differ, an image name occurs twice, a score is not a probability, or a
                patient has images of both classes and may not.
        """
        super().__init__(images=images, patients=patients, labels=labels, predictions=scores)
        self._scores = np.asarray(scores, dtype=np.float64)[self._order]
        thresholds = np.broadcast_to(np.asarray(threshold, np.float64), self._order.shape)
        self._thresholds = thresholds[self._order]
        if not np.all((self._scores >= 0) & (self._scores <= 1)):  # NaN fails both
            raise ValueError("a score is not a probability")
        self.correct = (self._scores >= self._thresholds) == (self.labels == 1)
        positives = self.sum_by_patient(self.labels)
        self._counts = self.sum_by_patient(np.ones_like(self.labels))
        mixed = (positives != 0) & (positives != self._counts)
        if np.any(mixed) and not mixed_patients:
            raise ValueError("a patient has images of both classes")
        self.strata = np.where(mixed, 2, positives > 0)

    def confusion(self) -> dict[str, int]:
        """Return the confusion matrix: number of images by outcome."""
        predicted, true = self._scores >= self._thresholds, self.labels == 1
        return {
            "true_negatives": int(np.sum(~predicted & ~true)),
            "false_positives": int(np.sum(predicted & ~true)),
            "false_negatives": int(np.sum(~predicted & true)),
            "true_positives": int(np.sum(predicted & true)),
        }

    def weighted_metrics(self, weights: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return each of `METRICS` under each weighting, float64 [weightings].

        - `roc_auc`: probability that a positive image scores higher than a negative one; ties count half.
        - `pr_auc`: average precision, without interpolation.
        - `calibration_error`: `knet.models.reliability.expected_calibration_error` of the score.
        - `brier`: mean squared error of the score.
        - `patient_recognition_rate`: mean over patients of `recognition_rates`.
        - `patient_decision_accuracy`: mean over patients of `_right_decisions`.

        Args:
            weights: number of times that each patient counts, [weightings, patients].
        """
        sums = {name: weights @ values for name, values in self._patient_sums().items()}
        tp, fp, tn, fn = (sums[name] for name in ("tp", "fp", "tn", "fn"))
        images, patients = tp + fp + tn + fn, weights.sum(axis=1)
        recall, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
        roc_auc, pr_auc = ranking_areas(weights, scores=self._scores, labels=self.labels, owner=self._owner)
        values = {
            "accuracy": ratio(tp + tn, images),
            "balanced_accuracy": (recall + specificity) / 2,
            "precision": ratio(tp, tp + fp),
            "recall": recall,
            "specificity": specificity,
            "f1": ratio(2 * tp, 2 * tp + fp + fn),
            "roc_auc": roc_auc,
            "pr_auc": pr_auc,
            "calibration_error": expected_calibration_error(sums["residuals"], images),
            "brier": ratio(sums["squared_error"], images),
            "patient_recognition_rate": ratio(sums["recognition"], patients),
            "patient_decision_accuracy": ratio(sums["decision"], patients),
        }
        return {name: values[name] for name in METRICS}

    def _patient_sums(self) -> dict[str, NDArray[Any]]:
        """Return the summands of each patient, [patients]; of the residuals, [patients, bins]."""
        predicted, true = self._scores >= self._thresholds, self.labels == 1
        residuals = np.zeros((len(self.patients), BINS))
        np.add.at(residuals, (self._owner, bin_indices(self._scores)), self.labels - self._scores)
        return {
            "tp": self.sum_by_patient(predicted & true),
            "fp": self.sum_by_patient(predicted & ~true),
            "tn": self.sum_by_patient(~predicted & ~true),
            "fn": self.sum_by_patient(~predicted & true),
            "residuals": residuals,
            "squared_error": self.sum_by_patient((self._scores - self.labels) ** 2),
            "recognition": recognition_rates(self.sum_by_patient(self.correct), self._counts),
            "decision": self._right_decisions(),
        }

    def _right_decisions(self) -> NDArray[Any]:
        """Return whether the mean score of each patient is on the correct side of the threshold, [patients].

        Of a patient with images of both classes each class is decided by its own images, and the share of
        right decisions is returned.
        """
        cells = 2 * self._owner + self.labels  # a patient's images of one class
        count = 2 * len(self.patients)
        images = np.bincount(cells, minlength=count)
        thresholds = np.zeros(count)
        thresholds[cells] = self._thresholds
        right = correct_decisions(
            np.bincount(cells, weights=self._scores, minlength=count),
            images,
            positive=np.arange(count) % 2 == 1,
            threshold=thresholds,
        )
        present = (images > 0).reshape(-1, 2)
        return ratio((right.reshape(-1, 2) & present).sum(axis=1), present.sum(axis=1))


def ranking_areas(
    weights: NDArray[Any], *, scores: NDArray[Any], labels: NDArray[Any], owner: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ROC-AUC and average precision under each weighting, each [weightings].

    Args:
        weights: number of times that each patient counts, [weightings, patients].
        scores: of the images, [images].
        labels: 1 for the positive class, else 0, [images].
        owner: index of the patient of each image, [images].
    """
    order = np.argsort(-scores, kind="stable")
    scores, owner, labels = scores[order], owner[order], labels[order]
    ends = np.flatnonzero(np.append(scores[1:] != scores[:-1], len(scores) > 0))  # of equal scores
    step = max(_MAX_WEIGHTS // max(len(scores), 1), 1)
    areas = [
        _curve_areas(weights[start : start + step][:, owner], labels, ends)
        for start in range(0, len(weights), step)
    ]
    roc_auc, pr_auc = np.concatenate(areas, axis=1)
    return roc_auc, pr_auc


def recognition_rates(correct: NDArray[Any], images: NDArray[Any]) -> NDArray[Any]:
    """Return the share of each patient's images that are classified correctly, [patients].

    Its mean over patients is the patient recognition rate (Spanhol et al., IEEE TBME 63(7), 2016,
    doi:10.1109/TBME.2015.2496264).

    Args:
        correct: number of correctly classified images of each patient, [patients].
        images: number of images of each patient, [patients].
    """
    return ratio(correct, images)


def correct_decisions(
    score_sums: NDArray[Any], images: NDArray[Any], *, positive: NDArray[Any], threshold: float | NDArray[Any]
) -> NDArray[Any]:
    """Return whether the mean score of each patient is on the correct side of the threshold, bool [patients].

    Args:
        score_sums: sum of the scores of each patient's images, [patients].
        images: number of images of each patient, [patients].
        positive: whether each patient is of the positive class, bool [patients].
        threshold: mean score from which a patient is classified as positive; one for all, or [patients].
    """
    correct: NDArray[Any] = (ratio(score_sums, images) >= threshold) == positive
    return correct


def _curve_areas(weights: NDArray[Any], labels: NDArray[Any], ends: NDArray[Any]) -> NDArray[Any]:
    """Return ROC-AUC and average precision, [2, weightings], of images in descending order of score.

    Args:
        weights: of the images, [weightings, images].
        labels: [images].
        ends: index of the last image of each group of equal scores.
    """
    tp = np.cumsum(weights * labels, axis=1)[:, ends]
    fp = np.cumsum(weights * (1 - labels), axis=1)[:, ends]
    new_tp = np.diff(tp, axis=1, prepend=0)
    new_fp = np.diff(fp, axis=1, prepend=0)
    positives, negatives = new_tp.sum(axis=1), new_fp.sum(axis=1)
    roc_auc = ratio((new_fp * (tp - new_tp / 2)).sum(axis=1), positives * negatives)
    precision = np.divide(tp, tp + fp, out=np.zeros_like(tp, dtype=float), where=tp + fp > 0)
    # Without negatives every ranking has an average precision of 1, which shows nothing about the scores.
    pr_auc = ratio((new_tp * precision).sum(axis=1), np.where(negatives > 0, positives, 0))
    return np.stack([roc_auc, pr_auc])
