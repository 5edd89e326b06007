"""Results of every split and slice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import pytest

from knet.evaluation.bootstrap import Estimate
from knet.evaluation.multiclass_metrics import MulticlassSample
from knet.evaluation.predictions import binary_sample, prediction_sample
from knet.evaluation.results import (
    candidate_results,
    estimate_json,
    slice_combinations,
    split_estimates,
)

CLASSES = ("benign", "malignant")


def results_of(frame: Any, slices: tuple[str, ...] = ("magnification", "subtype")) -> dict[str, Any]:
    return candidate_results(frame, classes=CLASSES, slices=slices, resamples=50, seed=0)


@pytest.fixture(scope="module")
def frame(make_predictions: Callable[..., Any]) -> Any:
    """Predictions of which 70 % are correct; the test split has no image at 200X."""
    frame = make_predictions(right=0.7)
    return frame[(frame["split"] == "validation") | (frame["magnification"] != "200X")]


@pytest.fixture(scope="module")
def results(frame: Any) -> dict[str, Any]:
    return results_of(frame)


def of_slice(results: dict[str, Any], split: str, **values: str) -> dict[str, Any]:
    (found,) = [part for part in results["splits"][split] if part["slice"] == values]
    return found


def test_candidate_results_are_json_without_nan(results: dict[str, Any]) -> None:
    assert json.loads(json.dumps(results, allow_nan=False)) == results


def test_candidate_results_splits_have_equal_slices_whole_split_first(results: dict[str, Any]) -> None:
    slices = [[part["slice"] for part in results["splits"][split]] for split in ("validation", "test")]
    assert slices[0] == slices[1] and slices[0][0] == {}
    assert len(slices[0]) == 1 + 3 + 2 + 6


def test_candidate_results_have_magnifications_in_numerical_order(results: dict[str, Any]) -> None:
    slices = [part["slice"] for part in results["splits"]["test"]]
    values = [part["magnification"] for part in slices if list(part) == ["magnification"]]
    assert values == ["40X", "100X", "200X"]


def test_candidate_results_of_slice_equal_metrics_of_its_rows(results: dict[str, Any], frame: Any) -> None:
    rows = frame[(frame["split"] == "validation") & (frame["magnification"] == "40X")]
    found = of_slice(results, "validation", magnification="40X")
    expected = binary_sample(rows).metrics()
    assert {name: estimate["value"] for name, estimate in found["metrics"].items()} == pytest.approx(expected)
    assert found["images"] == {"benign": 2, "malignant": 2} == found["patients"]
    assert found["notes"] == []


def test_candidate_results_class_report_agrees_with_metrics(results: dict[str, Any]) -> None:
    found = of_slice(results, "validation")
    assert found["classes"]["malignant"]["recall"] == found["metrics"]["recall"]["value"]
    assert found["classes"]["benign"]["recall"] == found["metrics"]["specificity"]["value"]
    assert found["classes"]["malignant"]["f1"] == found["metrics"]["f1"]["value"]
    assert [found["classes"][name]["support"] for name in CLASSES] == [6, 6]


def test_candidate_results_slice_of_one_class_has_a_note(results: dict[str, Any]) -> None:
    found = of_slice(results, "validation", subtype="adenosis")
    assert found["metrics"]["roc_auc"] == {"value": None, "low": None, "high": None}
    assert found["metrics"]["accuracy"]["value"] is not None
    assert found["notes"] == ["no malignant patient: metrics that need both classes are undefined"]


def test_candidate_results_list_slices_absent_from_a_split(results: dict[str, Any]) -> None:
    found = of_slice(results, "test", magnification="200X")
    assert found["notes"] == ["absent: no images in this split"]
    assert sum(found["images"].values()) == 0
    assert all(estimate["value"] is None for estimate in found["metrics"].values())


def test_candidate_results_one_patient_of_a_class_has_a_note(make_predictions: Callable[..., Any]) -> None:
    found = of_slice(results_of(make_predictions(patients=1), ()), "test")
    assert found["notes"] == [
        "one benign patient: the intervals do not cover the variation between benign patients",
        "one malignant patient: the intervals do not cover the variation between malignant patients",
    ]


def test_split_estimates_round_trip(results: dict[str, Any]) -> None:
    found = split_estimates(results, "test")["accuracy"]
    assert estimate_json(found) == results["splits"]["test"][0]["metrics"]["accuracy"]
    assert math.isnan(Estimate(math.nan, math.nan, math.nan).low)


def test_slice_combinations_are_none_each_column_and_each_pair() -> None:
    assert slice_combinations(["a", "b", "c"]) == [
        (), ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"),
    ]  # fmt: skip


def test_slice_combinations_without_columns_is_whole_split() -> None:
    assert slice_combinations([]) == [()]


def test_results_of_two_classes_are_the_recorded_ones(results: dict[str, Any], two_classes: Any) -> None:
    recorded = _by_slice(two_classes["results"])
    assert _numbers(_by_slice(results)) == pytest.approx(_numbers(recorded), rel=1e-12, nan_ok=True)
    assert _texts(_by_slice(results)) == _texts(recorded)


def _by_slice(results: dict[str, Any]) -> dict[str, Any]:
    """Return results with slices by name: the recorded ones have an earlier order."""
    splits = {
        split: {str(part["slice"]): part for part in parts} for split, parts in results["splits"].items()
    }
    return {**results, "splits": splits}


def _leaves(tree: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(tree, dict | list):
        return {path: tree}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    return {key: leaf for name, part in items for key, leaf in _leaves(part, f"{path}/{name}").items()}


def _numbers(tree: Any) -> dict[str, float]:
    return {path: leaf for path, leaf in _leaves(tree).items() if isinstance(leaf, float | int)}


def _texts(tree: Any) -> dict[str, Any]:
    return {path: leaf for path, leaf in _leaves(tree).items() if not isinstance(leaf, float | int)}


THREE = ("fat", "stroma", "tumor")


def results_of_three(frame: Any, positive: tuple[str, ...] = ()) -> dict[str, Any]:
    return candidate_results(
        frame, classes=THREE, positive=positive, slices=("magnification",), resamples=50, seed=0
    )


def test_candidate_results_of_three_classes(make_class_predictions: Callable[..., Any]) -> None:
    frame = make_class_predictions(right=0.7)
    results = results_of_three(frame)
    assert json.loads(json.dumps(results, allow_nan=False)) == results
    assert results["threshold"] is None
    part = of_slice(results, "test", magnification="40X")
    rows = frame[(frame["split"] == "test") & (frame["magnification"] == "40X")]
    sample = prediction_sample(rows, classes=THREE)
    assert isinstance(sample, MulticlassSample)
    assert part["confusion"] == sample.confusion().tolist()
    assert {name: found["value"] for name, found in part["metrics"].items()} == sample.metrics()
    assert part["patients"] == {"fat": 2, "stroma": 2, "tumor": 2}
    assert part["classes"]["tumor"]["recall"] == sample.class_report()["recall"][2]
    assert "group" not in part


def test_candidate_results_of_a_positive_group(make_class_predictions: Callable[..., Any]) -> None:
    frame = make_class_predictions(right=0.7, threshold=0.5)
    results = results_of_three(frame, positive=("tumor",))
    assert results["threshold"] == 0.5
    part = of_slice(results, "test")
    counts = part["group"]["confusion"]
    assert sum(counts.values()) == 12
    assert counts["true_positives"] / 4 == part["metrics"]["positive_recall"]["value"]


def test_candidate_results_of_three_classes_note_an_absent_one(
    make_class_predictions: Callable[..., Any],
) -> None:
    frame = make_class_predictions()
    found = of_slice(results_of_three(frame[(frame["split"] != "test") | (frame["label"] != 1)]), "test")
    assert found["notes"] == [
        "no stroma patient: its metrics are undefined, and means over the classes leave it out"
    ]
    assert found["classes"]["stroma"]["recall"] is None
    assert found["metrics"]["balanced_accuracy"]["value"] == 1
