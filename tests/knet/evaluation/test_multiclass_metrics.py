"""Metrics of several classes by hand, by scikit-learn and for any weighting of the patients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sklearn_metrics

from knet.evaluation.binary_metrics import BinarySample
from knet.evaluation.bootstrap import estimate_difference, estimate_metrics, resample_patients
from knet.evaluation.multiclass_metrics import GROUP_METRICS, METRICS, MulticlassSample

Row = tuple[str, int, list[float]]  # patient, label, probabilities


def sample_of(rows: list[Row]) -> MulticlassSample:
    return MulticlassSample(
        images=[f"image {number:04}" for number in range(len(rows))],
        patients=[row[0] for row in rows],
        labels=[row[1] for row in rows],
        probabilities=np.array([row[2] for row in rows]).reshape(len(rows), -1),
    )


# Three classes; patient c has images of two of them.
HAND_WORKED: list[Row] = [
    ("a", 0, [0.6, 0.3, 0.1]), ("a", 0, [0.1, 0.5, 0.4]),  # 1 of 2; mean 0.35, 0.4, 0.25: wrong
    ("b", 1, [0.2, 0.7, 0.1]), ("b", 1, [0.4, 0.5, 0.1]),  # 2 of 2; right
    ("c", 1, [0.3, 0.3, 0.4]), ("c", 2, [0.1, 0.1, 0.8]),  # 1 of 2; class 1 is wrong, class 2 is right
]  # fmt: skip


def test_metrics_equal_hand_computed_values() -> None:
    sample = sample_of(HAND_WORKED)
    assert sample.confusion().tolist() == [[1, 1, 0], [0, 2, 1], [0, 0, 1]]
    true = np.array([0.6, 0.1, 0.7, 0.5, 0.3, 0.8])
    squares = [0.26, 1.22, 0.14, 0.42, 0.74, 0.06]
    f1 = np.array([2 / 3, 4 / 6, 2 / 3])
    assert sample.metrics() == pytest.approx(
        {
            "accuracy": 4 / 6,
            "balanced_accuracy": (1 / 2 + 2 / 3 + 1) / 3,
            "macro_precision": (1 + 2 / 3 + 1 / 2) / 3,
            "macro_recall": (1 / 2 + 2 / 3 + 1) / 3,
            "macro_f1": f1.mean(),
            "weighted_precision": (2 * 1 + 3 * 2 / 3 + 1 / 2) / 6,
            "weighted_recall": 4 / 6,
            "weighted_f1": f1 @ [2, 3, 1] / 6,
            # of class 0: 0.6 beats 4, 0.1 ties 1; of class 1: 0.7 beats 3, 0.5 2 and ties 1, 0.3 1 and ties 1
            "macro_roc_auc": ((4 + 0.5) / 8 + (3 + 2.5 + 1.5) / 9 + 5 / 5) / 3,
            "macro_pr_auc": ((1 + 2 / 6) / 2 + (1 + (2 / 3) + (3 / 5)) / 3 + 1) / 3,
            # chance: (2 * 1 + 3 * 3 + 1 * 2) / 36
            "cohen_kappa": (4 / 6 - 13 / 36) / (1 - 13 / 36),
            "log_loss": -np.log(true).mean(),
            "brier": np.mean(squares),
            # by tenths: 0.4 | 0.5, 0.5+ | 0.6+ | 0.7+ | 0.8+
            "calibration_error": (0.4 + 0.0 + 0.4 + 0.3 + 0.2) / 6,
            "patient_recognition_rate": (1 / 2 + 1 + 1 / 2) / 3,
            "patient_decision_accuracy": (0 + 1 + 1 / 2) / 3,
        }
    )


def test_class_report_equals_scikit_learn() -> None:
    sample = sample_of(HAND_WORKED)
    labels = [row[1] for row in HAND_WORKED]
    predicted = [int(np.argmax(row[2])) for row in HAND_WORKED]
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(labels, predicted)
    found = sample.class_report()
    np.testing.assert_allclose(found["precision"], precision)
    np.testing.assert_allclose(found["recall"], recall)
    np.testing.assert_allclose(found["f1"], f1)
    assert found["support"].tolist() == support.tolist()


@st.composite
def samples(draw: st.DrawFn) -> list[Row]:
    """Rows of a few patients of three or four classes, all with images; many probabilities are equal."""
    count = draw(st.integers(3, 4))
    weights = st.lists(st.integers(0, 3), min_size=count, max_size=count).filter(any)
    rows: list[Row] = []
    for number in range(draw(st.integers(count, 7))):
        own = draw(st.lists(weights, min_size=1, max_size=4))
        labels = [number % count if number < count else draw(st.integers(0, count - 1)) for _ in own]
        rows += [
            (f"patient {number}", label, [part / sum(drawn) for part in drawn])
            for label, drawn in zip(labels, own, strict=True)
        ]
    return rows


@given(samples())
def test_metrics_equal_scikit_learn(rows: list[Row]) -> None:
    labels = np.array([row[1] for row in rows])
    probabilities = np.array([row[2] for row in rows])
    predicted = probabilities.argmax(axis=1)
    found = sample_of(rows).metrics()
    classes = list(range(probabilities.shape[1]))
    expected = {
        "accuracy": sklearn_metrics.accuracy_score(labels, predicted),
        "balanced_accuracy": sklearn_metrics.balanced_accuracy_score(labels, predicted),
        "macro_roc_auc": sklearn_metrics.roc_auc_score(
            labels, probabilities, multi_class="ovr", labels=classes
        ),
        "macro_pr_auc": np.mean(
            [sklearn_metrics.average_precision_score(labels == one, probabilities[:, one]) for one in classes]
        ),
        "log_loss": sklearn_metrics.log_loss(labels, np.maximum(probabilities, 1e-7), labels=classes),
    }
    for average in ("macro", "weighted"):
        scores = sklearn_metrics.precision_recall_fscore_support(
            labels, predicted, average=average, zero_division=0
        )
        expected |= {
            f"{average}_{name}": value
            for name, value in zip(("precision", "recall", "f1"), scores, strict=False)
        }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-5)
    kappa = sklearn_metrics.cohen_kappa_score(labels, predicted)
    assert found["cohen_kappa"] == pytest.approx(kappa, nan_ok=True)


@given(samples(), st.data())
def test_weighted_metrics_equal_those_of_repeated_patients(rows: list[Row], data: st.DataObject) -> None:
    sample = sample_of(rows)
    count = len(sample.patients)
    weights = data.draw(st.lists(st.integers(0, 3), min_size=count, max_size=count).filter(any))
    copies: list[Row] = [
        (f"{patient} copy {copy}", label, probabilities)
        for patient, label, probabilities in rows
        for copy in range(weights[list(sample.patients).index(patient)])
    ]
    weighted = sample.weighted_metrics(np.array([weights, np.ones_like(weights)]))
    assert {n: v[0] for n, v in weighted.items()} == pytest.approx(sample_of(copies).metrics(), nan_ok=True)
    assert {n: v[1] for n, v in weighted.items()} == pytest.approx(sample.metrics(), nan_ok=True)


def test_metrics_of_two_classes_equal_those_of_the_score() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random(40)
    labels = np.arange(40) // 4 % 2
    names: dict[str, Any] = {
        "images": np.arange(40).astype(str),
        "patients": (np.arange(40) // 4).astype(str),
    }
    two = BinarySample(**names, labels=labels, scores=scores).metrics()
    found = MulticlassSample(
        **names, labels=labels, probabilities=np.stack([1 - scores, scores], axis=1)
    ).metrics()
    patients = ("patient_recognition_rate", "patient_decision_accuracy")
    for name in ("accuracy", "balanced_accuracy", *patients):
        assert found[name] == pytest.approx(two[name])
    assert found["macro_roc_auc"] == pytest.approx(two["roc_auc"])
    assert found["brier"] == pytest.approx(2 * two["brier"])


def test_metrics_with_a_class_without_images_are_means_over_the_others() -> None:
    found = sample_of([("a", 0, [0.8, 0.1, 0.1]), ("b", 1, [0.5, 0.3, 0.2]), ("b", 1, [0.2, 0.3, 0.5])])
    metrics, report = found.metrics(), found.class_report()
    assert metrics["balanced_accuracy"] == metrics["macro_recall"] == 0.5
    assert metrics["macro_precision"] == (0.5 + 0) / 2
    assert metrics["macro_roc_auc"] == pytest.approx((1 + 1) / 2)
    assert math.isnan(report["recall"][2]) and math.isnan(report["roc_auc"][2]) and report["support"][2] == 0
    assert report["precision"][2] == 0 and math.isnan(report["precision"][1])


def test_metrics_of_one_class_alone_have_no_areas() -> None:
    metrics = sample_of([("a", 0, [0.8, 0.1, 0.1]), ("b", 0, [0.2, 0.5, 0.3])]).metrics()
    undefined = {name for name, value in metrics.items() if math.isnan(value)}
    assert undefined == {"macro_roc_auc", "macro_pr_auc"}
    assert metrics["accuracy"] == 0.5 and metrics["cohen_kappa"] == 0


def test_metrics_without_images_are_undefined() -> None:
    sample = MulticlassSample(images=[], patients=[], labels=[], probabilities=np.zeros((0, 3)))
    assert set(sample.metrics()) == set(METRICS)
    assert all(math.isnan(value) for value in sample.metrics().values())
    assert sample.confusion().tolist() == [[0] * 3] * 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": ["x", "x"]}, "occurs twice"),
        ({"labels": [0, 3]}, "a label is not among the 3 classes"),
        ({"labels": [0]}, "differ in length"),
        ({"probabilities": [[0.5, 0.5, 0.5], [1, 0, 0]]}, "do not add up to 1"),
        ({"probabilities": [[1.5, -0.5, 0], [1, 0, 0]]}, "negative"),
        ({"probabilities": [[math.nan, 0, 1], [1, 0, 0]]}, "negative or do not"),
    ],
)
def test_unusable_sample_is_an_error(changes: dict[str, Any], message: str) -> None:
    valid = {"images": ["x", "y"], "patients": ["a", "b"], "labels": [0, 2]}
    probabilities = [[0.2, 0.3, 0.5], [1, 0, 0]]
    with pytest.raises(ValueError, match=message):
        MulticlassSample(**{**valid, "probabilities": probabilities, **changes})


def test_strata_are_the_rarest_classes() -> None:
    found = sample_of(HAND_WORKED)
    assert found.patients.tolist() == ["a", "b", "c"] and found.strata.tolist() == [0, 1, 2]


def test_resample_patients_keeps_the_number_in_each_of_three_classes() -> None:
    strata = np.array([0, 2, 1, 0, 2, 2])
    drawn = resample_patients(strata, resamples=30, seed=0)
    for label, count in enumerate([2, 1, 3]):
        assert (drawn[:, strata == label].sum(axis=1) == count).all()


def test_intervals_and_paired_differences_of_three_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) // 8 % 3
    names: dict[str, Any] = {
        "images": np.arange(120).astype(str),
        "patients": (np.arange(120) // 8).astype(str),
    }

    def sample(strength: float) -> MulticlassSample:
        logits = rng.normal(size=(120, 3)) + strength * np.eye(3)[labels]
        probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return MulticlassSample(**names, labels=labels, probabilities=probabilities)

    good, poor = sample(3), sample(0.5)
    for name, estimate in estimate_metrics(good, resamples=200).items():
        assert estimate.low <= estimate.value <= estimate.high or name in ("calibration_error", "log_loss")
    difference = estimate_difference(good, poor, metric="macro_f1", resamples=200)
    assert 0 < difference.low < difference.value < difference.high


def test_group_metrics_are_those_of_the_summed_probabilities() -> None:
    labels = [row[1] for row in HAND_WORKED]
    probabilities = np.array([row[2] for row in HAND_WORKED])
    names: dict[str, Any] = {
        "images": [f"image {number:04}" for number in range(len(labels))],
        "patients": [row[0] for row in HAND_WORKED],
    }
    grouped = MulticlassSample(
        **names, labels=labels, probabilities=probabilities, positive=[1, 2], threshold=0.65
    )
    group = BinarySample(
        **names,
        labels=[int(label > 0) for label in labels],
        scores=probabilities[:, 1] + probabilities[:, 2],
        threshold=0.65,
    )
    expected = {f"positive_{name}": value for name, value in group.metrics().items()}
    assert grouped.metrics() == pytest.approx({**sample_of(HAND_WORKED).metrics(), **expected})
    assert tuple(expected) == GROUP_METRICS
    # Scores 0.4, 0.9, 0.8, 0.6, 0.7, 0.9: of the negative one, of the positive three are right.
    assert expected["positive_specificity"] == 1 / 2
    assert expected["positive_recall"] == 3 / 4
    assert expected["positive_patient_decision_accuracy"] == 2 / 3 + 1 / 3 * (0.65 > (0.4 + 0.9) / 2)


def test_group_of_one_class_weighs_patients_as_the_classes_do() -> None:
    sample = MulticlassSample(
        images=["1", "2", "3", "4"],
        patients=["b", "a", "a", "b"],
        labels=[0, 1, 2, 2],
        probabilities=np.array([[0.6, 0.4, 0.0], [0.2, 0.5, 0.3], [0.1, 0.2, 0.7], [0.5, 0.3, 0.2]]),
        positive=[2],
        threshold=0.25,
    )
    weighted = sample.weighted_metrics(np.array([[1, 0], [0, 1]]))
    # a: 0.3 and 0.7 are both positive, one is wrong; b: 0 is right, 0.2 is wrong
    assert weighted["positive_accuracy"].tolist() == [0.5, 0.5]
    assert weighted["positive_recall"].tolist() == [1, 0]
    assert weighted["positive_specificity"].tolist() == [0, 1]
