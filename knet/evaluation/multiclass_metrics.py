"""Metrics of a candidate's predictions of more than two classes, for any weighting of the patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from knet.evaluation.binary_metrics import METRICS as BINARY_METRICS
from knet.evaluation.binary_metrics import BinarySample, ranking_areas, recognition_rates
from knet.evaluation.sample import Sample, ratio
from knet.models.calibration import group_scores
from knet.models.reliability import BINS, bin_indices, expected_calibration_error

METRICS: Final = (
    "accuracy",  # image recognition rate
    "balanced_accuracy",
    # Macro: mean over the classes; weighted: mean over the images. Both of the classes that have images.
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "weighted_precision",
    "weighted_recall",
    "weighted_f1",
    "macro_roc_auc",  # of each class against the others
    "macro_pr_auc",
    "cohen_kappa",
    "log_loss",
    "brier",
    "calibration_error",  # of the likeliest class
    "patient_recognition_rate",
    "patient_decision_accuracy",
)
GROUP_PREFIX: Final = "positive_"  # of the metrics of a positive group against the other classes
GROUP_METRICS: Final = tuple(f"{GROUP_PREFIX}{name}" for name in BINARY_METRICS)
_MIN_PROBABILITY = 1e-7  # keeps the logarithm finite
_SUM_TOLERANCE = 1e-3  # of the probabilities of an image, which are float32


class MulticlassSample(Sample):
    """Labels and probabilities of the images of some patients, of more than two classes.

    A patient may have images of several classes. Its stratum is the rarest of them, by patients.

    Attributes:
        group: the sample of a positive group of the classes against the others; None without one.
    """

    def __init__(
        self,
        *,
        images: Sequence[str] | NDArray[Any],
        patients: Sequence[str] | NDArray[Any],
        labels: Sequence[int] | NDArray[Any],
        probabilities: Sequence[Sequence[float]] | NDArray[Any],
        positive: Sequence[int] = (),
        threshold: float | NDArray[Any] = 0.5,
    ) -> None:
        """Initialize the sample.

        Args:
            images: unique image names, [images].
            patients: patient of each image, [images].
            labels: indices into the classes, [images].
            probabilities: of each class, 0 to 1, float32 or float64 [images, classes].
            positive: labels of the positive group; empty if there is none.
            threshold: probability of the group from which an image or a patient is classified as positive;
                one for all, or one for each image, [images].

        Raises:
            ValueError: the lengths differ, an image name occurs twice, a label is not among the classes, or
                the probabilities of an image are none.
        """
        super().__init__(images=images, patients=patients, labels=labels, predictions=probabilities)
        self._probabilities = np.asarray(probabilities, dtype=np.float64)[self._order]
        self._classes = self._probabilities.shape[1]
        if not np.all((self.labels >= 0) & (self.labels < self._classes)):
            raise ValueError(f"a label is not among the {self._classes} classes")
        sums = self._probabilities.sum(axis=1)
        if not (np.all(self._probabilities >= 0) and np.all(np.abs(sums - 1) < _SUM_TOLERANCE)):
            raise ValueError("the probabilities of an image are negative or do not add up to 1")
        self._predicted = self._probabilities.argmax(axis=1)
        self.correct = self._predicted == self.labels
        # Number of images of each patient by class and predicted class, [patients, classes, classes].
        self._outcomes = np.zeros((len(self.patients), self._classes, self._classes))
        np.add.at(self._outcomes, (self._owner, self.labels, self._predicted), 1)
        present = self._outcomes.sum(axis=2) > 0  # [patients, classes]
        self.strata = np.where(present, present.sum(axis=0), len(self.patients) + 1).argmin(axis=1)
        self.group: BinarySample | None = None
        if positive:
            self.group = BinarySample(
                images=images,
                patients=patients,
                labels=np.isin(labels, positive).astype(int),
                scores=group_scores(np.asarray(probabilities), positive),
                threshold=threshold,
                mixed_patients=True,
            )

    def confusion(self) -> NDArray[np.int64]:
        """Return the number of images by class (rows) and predicted class, [classes, classes]."""
        return self._outcomes.sum(axis=0).astype(np.int64)

    def class_report(self) -> dict[str, NDArray[Any]]:
        """Return precision, recall, F1, one-vs-rest ROC-AUC and PR-AUC, and support, each [classes].

        NaN where one is undefined: the recall of a class without images, the precision of one that is never
        predicted.
        """
        once = np.ones((1, len(self.patients)))
        confusion = self._outcomes.sum(axis=0)
        correct, support, predicted = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
        roc_auc, pr_auc = self._areas(once)
        return {
            "precision": ratio(correct, predicted),
            "recall": ratio(correct, support),
            "f1": ratio(2 * correct, support + predicted),
            "roc_auc": roc_auc[0],
            "pr_auc": pr_auc[0],
            "support": support.astype(np.int64),
        }

    def all_metrics(self, classes: Sequence[str]) -> dict[str, float]:
        """Return each metric, and the class report as `precision/<class>` and so on.

        Args:
            classes: names in the order of the labels.
        """
        report = self.class_report().items()
        of_classes = {
            f"{name}/{label}": float(value)
            for name, values in report
            for label, value in zip(classes, values, strict=True)
        }
        return {**self.metrics(), **of_classes}

    def weighted_metrics(self, weights: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return each of `METRICS`, and with a positive group of `GROUP_METRICS`, float64 [weightings].

        - A class that is never predicted has a precision of 0 in the means.
        - `macro_roc_auc`, `macro_pr_auc`: as of `BinarySample`, of the classes where they are defined.
        - `cohen_kappa`: agreement of label and prediction beyond chance (Cohen, 1960).
        - `log_loss`: mean of -log p(label), in nats.
        - `brier`: mean over images of the sum over classes of the squared error (Brier, 1950), up to 2.
        - `calibration_error`: of the probability of the likeliest class, as a prediction that it is true.
        - `patient_recognition_rate`: mean over patients of `recognition_rates`.
        - `patient_decision_accuracy`: mean over patients of `_right_decisions`.

        Args:
            weights: number of times that each patient counts, [weightings, patients].
        """
        confusion = np.tensordot(weights, self._outcomes, axes=1)  # [weightings, classes, classes]
        correct = np.diagonal(confusion, axis1=1, axis2=2)
        support, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
        images, patients = support.sum(axis=1), weights.sum(axis=1)
        accuracy = ratio(correct.sum(axis=1), images)
        by_class = {
            "precision": np.nan_to_num(ratio(correct, predicted)),
            "recall": np.nan_to_num(ratio(correct, support)),
            "f1": np.nan_to_num(ratio(2 * correct, support + predicted)),
        }
        present = support > 0
        macro = {name: ratio((v * present).sum(axis=1), present.sum(axis=1)) for name, v in by_class.items()}
        chance = ratio((support * predicted).sum(axis=1), images**2)
        roc_auc, pr_auc = self._areas(weights)
        true = self._probabilities[np.arange(len(self.labels)), self.labels]
        log_losses = -np.log(np.maximum(true, _MIN_PROBABILITY))
        squares = np.square(self._probabilities).sum(axis=1) - 2 * true + 1
        values = {
            "accuracy": accuracy,
            "balanced_accuracy": macro["recall"],
            **{f"macro_{name}": value for name, value in macro.items()},
            **{f"weighted_{name}": ratio((v * support).sum(axis=1), images) for name, v in by_class.items()},
            "macro_roc_auc": _mean_of_defined(roc_auc),
            "macro_pr_auc": _mean_of_defined(pr_auc),
            "cohen_kappa": ratio(accuracy - chance, 1 - chance),
            "log_loss": ratio(weights @ self.sum_by_patient(log_losses), images),
            "brier": ratio(weights @ self.sum_by_patient(squares), images),
            "calibration_error": expected_calibration_error(weights @ self._residuals(), images),
            "patient_recognition_rate": ratio(weights @ self._recognition(), patients),
            "patient_decision_accuracy": ratio(weights @ self._right_decisions(), patients),
        }
        found = {name: values[name] for name in METRICS}
        if self.group:
            of_group = self.group.weighted_metrics(weights)
            found |= {f"{GROUP_PREFIX}{name}": of_group[name] for name in BINARY_METRICS}
        return found

    def _residuals(self) -> NDArray[Any]:
        """Return the sum of correctness minus probability of the likeliest class, [patients, bins]."""
        top = self._probabilities.max(axis=1, initial=0)
        residuals = np.zeros((len(self.patients), BINS))
        np.add.at(residuals, (self._owner, bin_indices(top)), self.correct - top)
        return residuals

    def _recognition(self) -> NDArray[Any]:
        correct = np.trace(self._outcomes, axis1=1, axis2=2)
        return recognition_rates(correct, self._outcomes.sum(axis=(1, 2)))

    def _right_decisions(self) -> NDArray[Any]:
        """Return whether the likeliest class by the mean probabilities of a patient's images is right.

        Of a patient with images of several classes each class is decided by its own images, and the share of
        right decisions is returned, [patients].
        """
        sums = np.zeros((len(self.patients), self._classes, self._classes))
        np.add.at(sums, (self._owner, self.labels), self._probabilities)
        present = sums.sum(axis=2) > 0
        right = (sums.argmax(axis=2) == np.arange(self._classes)) & present
        return ratio(right.sum(axis=1), present.sum(axis=1))

    def _areas(self, weights: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the areas under both curves of each class against the others, [weightings, classes] each."""
        areas = [
            ranking_areas(
                weights,
                scores=self._probabilities[:, label],
                labels=(self.labels == label).astype(np.int64),
                owner=self._owner,
            )
            for label in range(self._classes)
        ]
        roc_auc, pr_auc = (np.stack(one, axis=1) for one in zip(*areas, strict=True))
        return roc_auc, pr_auc


def _mean_of_defined(values: NDArray[Any]) -> NDArray[Any]:
    """Return the mean over the classes without NaN, [weightings]; NaN if all are."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0).sum(axis=1), defined.sum(axis=1))
