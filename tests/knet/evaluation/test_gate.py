"""The quality gate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from knet.evaluation.gate import Rules, Verdict, certain_refusal, evaluate_gate, violations

CLASSES = ("benign", "malignant")
MakePredictions = Callable[..., Any]


@pytest.mark.parametrize("value", [0.75, 0.76, 1.0])
def test_violations_reached_minimum_passes(value: float) -> None:
    assert violations({"accuracy": value}, minimum={"accuracy": 0.75}) == []


def test_violations_missed_minimum_has_both_numbers() -> None:
    (line,) = violations({"accuracy": 0.5}, minimum={"accuracy": 0.75})
    assert line == "accuracy on test is 0.5, below the minimum of 0.75"


@pytest.mark.parametrize("minimum", [0.0, 0.5])
def test_violations_undefined_metric_fails(minimum: float) -> None:
    (line,) = violations({"roc_auc": math.nan}, minimum={"roc_auc": minimum})
    assert line.startswith("roc_auc on test is nan")


def test_violations_have_a_line_each() -> None:
    metrics = {"accuracy": 0.9, "recall": 0.1, "f1": 0.2}
    lines = violations(metrics, minimum={"accuracy": 0.8, "recall": 0.8, "f1": 0.8})
    assert [line.split()[0] for line in lines] == ["recall", "f1"]


def test_violations_without_minimum_are_none() -> None:
    assert violations({"accuracy": 0.0, "roc_auc": math.nan}, minimum={}) == []


def rules_of(**changes: Any) -> Rules:
    rules: dict[str, Any] = {
        "minimum": {},
        "margin": 0.05,
        "metric": "patient_recognition_rate",
        "min_patients": 2,
        "on_insufficient_data": "fail",
    }
    return Rules(**{**rules, **changes})


def verdict_of(test: Any, baseline: Any = None, version: str = "7", **changes: Any) -> Verdict:
    return evaluate_gate(
        test,
        rules_of(**changes),
        classes=CLASSES,
        baseline=baseline,
        version=version,
        resamples=200,
    )


@pytest.fixture
def good(make_predictions: MakePredictions) -> Any:
    """Predictions of which all are correct."""
    return make_predictions("vgg16", patients=5, splits=["test"])


@pytest.fixture
def poor(make_predictions: MakePredictions) -> Any:
    """Predictions of which half are correct."""
    return make_predictions("resnet50", patients=5, splits=["test"], right=0.5)


def test_gate_first_run_passes_without_comparison(poor: Any) -> None:
    verdict = verdict_of(poor)
    assert verdict.reasons == [] and verdict.comparison is None
    assert verdict.notes == ["there is no model in production to compare with"]


def test_gate_first_run_must_reach_minimum(poor: Any) -> None:
    (line,) = verdict_of(poor, minimum={"patient_recognition_rate": 0.9}).reasons
    assert "below the minimum of 0.9" in line


def test_gate_better_model_passes(good: Any, poor: Any) -> None:
    verdict = verdict_of(good, poor)
    assert verdict.reasons == []
    (note,) = verdict.notes
    assert "patient_recognition_rate to resnet50, version 7, in production is +0." in note
    assert verdict.comparison is not None
    assert (verdict.comparison["with"], verdict.comparison["version"]) == ("resnet50", "7")
    assert (verdict.comparison["patients"], verdict.comparison["images"]) == (10, 30)
    assert verdict.comparison["difference"]["low"] > 0


def test_gate_equal_model_is_within_the_margin(good: Any) -> None:
    verdict = verdict_of(good, good, margin=0.0)
    assert verdict.reasons == []
    assert verdict.comparison is not None and verdict.comparison["difference"]["value"] == 0


def test_gate_worse_model_fails_with_one_line(good: Any, poor: Any) -> None:
    (line,) = verdict_of(poor, good).reasons
    assert "\n" not in line
    assert line.startswith(
        "the difference in patient_recognition_rate to vgg16, version 7, in production is -0."
    )
    assert line.endswith("on 10 test patients, and may be worse than gate.margin 0.05")


def test_gate_lower_end_of_interval_must_be_within_the_margin(good: Any) -> None:
    # One patient's images are misclassified: a difference of -0.1, but the interval reaches to -0.3.
    one_wrong = good.copy()
    hit = one_wrong["patient"] == "test-0"
    one_wrong.loc[hit, "score"] = np.float32(1) - one_wrong.loc[hit, "score"]
    verdict = verdict_of(one_wrong, good, margin=0.15)
    assert verdict.comparison is not None
    assert verdict.comparison["difference"]["value"] == pytest.approx(-0.1) and verdict.reasons
    assert verdict_of(one_wrong, good, margin=0.5).reasons == []


def test_gate_without_margin_does_not_compare(good: Any, poor: Any) -> None:
    assert verdict_of(poor, good, margin=None) == Verdict()


def test_gate_compares_only_shared_test_images(good: Any, poor: Any) -> None:
    other = poor.copy()
    moved = other["patient"].isin(["test-0", "test-1"])
    other.loc[moved, "image"] = "elsewhere/" + other.loc[moved, "image"]
    verdict = verdict_of(good, other)
    assert verdict.comparison is not None and verdict.comparison["patients"] == 8


@pytest.mark.parametrize("on_insufficient_data", ["fail", "pass"])
def test_gate_without_shared_patients_is_insufficient(
    good: Any, poor: Any, on_insufficient_data: str
) -> None:
    other = poor.assign(image="elsewhere/" + poor["image"])
    verdict = verdict_of(good, other, on_insufficient_data=on_insufficient_data)
    (line,) = verdict.reasons if on_insufficient_data == "fail" else verdict.notes
    assert line == (
        "insufficient patients: 0 benign and 0 malignant among the test patients shared with resnet50, "
        "version 7, in production, but gate.min_patients is 2 for each"
    )
    assert bool(verdict.reasons) == (on_insufficient_data == "fail")


@pytest.mark.parametrize("on_insufficient_data", ["fail", "pass"])
def test_gate_too_few_test_patients_are_insufficient(
    make_predictions: MakePredictions, on_insufficient_data: str
) -> None:
    few = make_predictions(patients=1, splits=["test"])
    verdict = verdict_of(
        few, minimum={"accuracy": 0.5}, margin=None, on_insufficient_data=on_insufficient_data
    )
    (line,) = verdict.reasons if on_insufficient_data == "fail" else verdict.notes
    assert line == (
        "insufficient patients: 1 benign and 1 malignant for test, but gate.min_patients is 2 for each"
    )
    assert bool(verdict.reasons) == (on_insufficient_data == "fail")


@pytest.mark.parametrize("on_insufficient_data", ["fail", "pass"])
@pytest.mark.parametrize("margin", [None, 0.05])
@pytest.mark.parametrize("minimum", [{}, {"accuracy": 0.5}])
@pytest.mark.parametrize("patients", [1, 2])
@pytest.mark.parametrize("repeated", [False, True])
def test_certain_refusal_agrees_with_the_gate_on_a_perfect_model(
    make_predictions: MakePredictions,
    patients: int,
    repeated: bool,
    minimum: dict[str, float],
    margin: float | None,
    on_insufficient_data: str,
) -> None:
    rules: dict[str, Any] = {
        "minimum": minimum,
        "margin": margin,
        "on_insufficient_data": on_insufficient_data,
    }
    perfect = make_predictions(patients=patients, splits=["test"])
    baseline = perfect if repeated else None
    counts = dict.fromkeys(CLASSES, patients)
    refusal = certain_refusal(counts, rules_of(**rules), baseline=baseline)
    assert bool(refusal) == bool(verdict_of(perfect, baseline, **rules).reasons)


def test_certain_refusal_names_field_counts_and_remedy() -> None:
    assert certain_refusal({"benign": 3, "malignant": 1}, rules_of(minimum={"recall": 0.5})) == (
        "the gate must refuse every model, insufficient patients: 3 benign and 1 malignant for test, but "
        "gate.min_patients is 2 for each; have more test patients (data.split), lower gate.min_patients, or "
        "set gate.on_insufficient_data=pass"
    )


def test_gate_without_requirements_accepts_few_patients(make_predictions: MakePredictions) -> None:
    few = make_predictions(patients=1, splits=["test"], right=0.0)
    assert verdict_of(few, margin=None) == Verdict()


def test_gate_undefined_difference_fails(good: Any) -> None:
    never = good.assign(score=np.float32(0.1))
    (line,) = verdict_of(never, good, metric="precision").reasons
    assert line.startswith("precision is undefined for this model or vgg16, version 7, in production")


THREE = ("fat", "stroma", "tumor")


def verdict_of_three(test: Any, baseline: Any = None, **changes: Any) -> Verdict:
    return evaluate_gate(
        test, rules_of(**changes), classes=THREE, positive=("tumor",), baseline=baseline, resamples=200
    )


def test_gate_of_three_classes_checks_classes_and_group(make_class_predictions: MakePredictions) -> None:
    minimum = {"macro_f1": 0.9, "positive_recall": 0.9}
    good = make_class_predictions(splits=["test"], threshold=0.5)
    assert verdict_of_three(good, minimum=minimum).reasons == []
    bad = make_class_predictions(splits=["test"], threshold=0.5, right=0)
    assert [line.split()[0] for line in verdict_of_three(bad, minimum=minimum).reasons] == list(minimum)


def test_gate_of_three_classes_compares_with_production(make_class_predictions: MakePredictions) -> None:
    good = make_class_predictions(splits=["test"], threshold=0.5)
    bad = make_class_predictions(splits=["test"], threshold=0.5, right=0)
    worse = verdict_of_three(bad, good)
    assert worse.comparison and worse.comparison["difference"]["value"] == -1
    assert len(worse.reasons) == 1
    assert verdict_of_three(good, bad, metric="positive_balanced_accuracy").reasons == []


def test_gate_does_not_compare_with_a_model_of_other_classes(
    make_class_predictions: MakePredictions, good: Any
) -> None:
    three = make_class_predictions("resnet50", splits=["test"], threshold=0.5)
    for verdict, count in ((verdict_of_three(three, good), 2), (verdict_of(good, three), 3)):
        assert verdict.comparison is None and verdict.reasons == []
        assert verdict.notes[0].endswith(f"in production, which has {count} classes")


def test_gate_of_three_classes_names_those_with_few_patients(make_class_predictions: MakePredictions) -> None:
    test = make_class_predictions(splits=["test"], threshold=0.5)
    few = test[(test["label"] != 1) | (test["patient"] == "test-1")]
    verdict = verdict_of_three(few, minimum={"accuracy": 0.1})
    assert verdict.reasons == [
        "insufficient patients: 1 stroma for test, but gate.min_patients is 2 for each"
    ]


def test_gate_refuses_every_model_of_a_split_by_image(good: Any) -> None:
    rules = rules_of(split_unit="image", on_insufficient_data="pass")
    assert "the gate must refuse every model, the split is by image" in str(
        certain_refusal({"benign": 99, "malignant": 99}, rules)
    )
    assert certain_refusal({"benign": 99, "malignant": 99}, rules_of()) is None
    (reason,) = verdict_of(good, split_unit="image").reasons
    assert reason.startswith("the split is by image") and "data.split.unit=patient" in reason
