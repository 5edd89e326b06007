"""The figures of every split and slice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from pipeline.evaluation.bootstrap import Estimate
from pipeline.evaluation.predictions import patient_sample
from pipeline.evaluation.results import candidate_results, estimate_tree, whole

CLASSES = ("benign", "malignant")


def results_of(frame: Any, slices: tuple[str, ...] = ("magnification", "subtype")) -> dict[str, Any]:
    return candidate_results(frame, classes=CLASSES, slices=slices, resamples=50, seed=0)


@pytest.fixture(scope="module")
def frame(make_predictions: Callable[..., Any]) -> Any:
    """Rather good predictions; test has no image at 200X."""
    frame = make_predictions(right=0.7)
    return frame[(frame["split"] == "validation") | (frame["magnification"] != "200X")]


@pytest.fixture(scope="module")
def results(frame: Any) -> dict[str, Any]:
    return results_of(frame)


def of_slice(results: dict[str, Any], split: str, **values: str) -> dict[str, Any]:
    (found,) = [part for part in results["splits"][split] if part["slice"] == values]
    return found


def test_it_is_json_without_undefined_numbers(results: dict[str, Any]) -> None:
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_both_splits_have_the_same_slices_the_whole_first(results: dict[str, Any]) -> None:
    slices = [[part["slice"] for part in results["splits"][split]] for split in ("validation", "test")]
    assert slices[0] == slices[1] and slices[0][0] == {}
    assert len(slices[0]) == 1 + 3 + 2 + 6


def test_a_slice_is_judged_as_its_rows_are(results: dict[str, Any], frame: Any) -> None:
    rows = frame[(frame["split"] == "validation") & (frame["magnification"] == "40X")]
    found = of_slice(results, "validation", magnification="40X")
    expected = patient_sample(rows).metrics()
    assert {name: estimate["value"] for name, estimate in found["metrics"].items()} == pytest.approx(expected)
    assert found["images"] == {"benign": 2, "malignant": 2} == found["patients"]
    assert found["notes"] == []


def test_classes_have_figures_of_their_own(results: dict[str, Any]) -> None:
    found = of_slice(results, "validation")
    assert found["classes"]["malignant"]["recall"] == found["metrics"]["recall"]["value"]
    assert found["classes"]["benign"]["recall"] == found["metrics"]["specificity"]["value"]
    assert found["classes"]["malignant"]["f1"] == found["metrics"]["f1"]["value"]
    assert [found["classes"][name]["support"] for name in CLASSES] == [6, 6]


def test_a_slice_of_one_class_says_so(results: dict[str, Any]) -> None:
    found = of_slice(results, "validation", subtype="adenosis")
    assert found["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert found["metrics"]["accuracy"]["value"] is not None
    assert found["notes"] == ["no malignant patient: what needs both classes is undefined"]


def test_a_slice_that_a_split_lacks_is_listed_as_absent(results: dict[str, Any]) -> None:
    found = of_slice(results, "test", magnification="200X")
    assert found["notes"] == ["absent: no image of this split"]
    assert sum(found["images"].values()) == 0
    assert all(estimate["value"] is None for estimate in found["metrics"].values())


def test_one_patient_of_a_class_is_noted(make_predictions: Callable[..., Any]) -> None:
    found = of_slice(results_of(make_predictions(patients=1), ()), "test")
    assert found["notes"] == [
        "one benign patient: the intervals do not show how much benign patients differ",
        "one malignant patient: the intervals do not show how much malignant patients differ",
    ]


def test_the_whole_split_is_found_again(results: dict[str, Any]) -> None:
    found = whole(results, "test")["accuracy"]
    assert estimate_tree(found) == results["splits"]["test"][0]["metrics"]["accuracy"]
    assert math.isnan(Estimate(math.nan, math.nan, math.nan).low)
