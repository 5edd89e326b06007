"""The figures of every split and slice."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from knet.evaluation.bootstrap import Estimate
from knet.evaluation.predictions import patient_sample
from knet.evaluation.results import (
    SUMMARY_HEADER,
    candidate_results,
    estimate_tree,
    slice_combinations,
    summary_rows,
    whole,
)
from knet.runs.record import RunRecord

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


MakeRecord = Callable[..., RunRecord]


def rows(record: RunRecord) -> dict[str, dict[str, str]]:
    """By candidate, the cell below each title."""
    return {row[0]: dict(zip(SUMMARY_HEADER, row, strict=True)) for row in summary_rows(record)}


def with_metrics(record: RunRecord, metrics: dict[str, dict[str, float]]) -> RunRecord:
    return replace(record, candidates={"vgg16": replace(record.candidates["vgg16"], metrics=metrics)})


def test_a_row_says_how_a_candidate_came_to_be_and_how_it_did(make_record: MakeRecord) -> None:
    assert list(rows(make_record())["mobilenet"].values()) == [
        "mobilenet",
        "imagenet",
        "40",
        "1,234,567",
        "0.875",
        "0.500",
        "0.625",
        "0.75 (0.25-0.95)",
        "0.500",
        "0.750",
        "61",
        "winner",
    ]


def test_titles_name_validation_and_test_apart() -> None:
    assert SUMMARY_HEADER[4:10] == (
        "val accuracy",
        "val balanced",
        "val AUC",
        "test patients",
        "test balanced",
        "test AUC",
    )


def test_there_is_a_row_a_candidate_in_the_record_s_order(make_record: MakeRecord) -> None:
    candidates = make_record().candidates
    turned = dict(reversed(candidates.items()))
    assert list(rows(make_record(candidates=turned))) == ["vgg16", "mobilenet"]


def test_only_the_winner_is_marked(make_record: MakeRecord) -> None:
    assert [row[""] for row in rows(make_record()).values()] == ["winner", ""]


def test_an_undefined_metric_is_shown_as_such(make_record: MakeRecord) -> None:
    record = with_metrics(make_record(), {"test": {"roc_auc": math.nan, "balanced_accuracy": 1.0}})
    assert rows(record)["vgg16"]["test AUC"] == "undefined"
    assert rows(record)["vgg16"]["test balanced"] == "1.000"


def test_an_undefined_patient_rate_has_no_interval(make_record: MakeRecord) -> None:
    record = with_metrics(make_record(), {"test": {"patient_recognition_rate": math.nan}})
    assert rows(record)["vgg16"]["test patients"] == "undefined"


@pytest.mark.parametrize("title", SUMMARY_HEADER[4:10])
def test_before_evaluation_there_are_no_figures(make_record: MakeRecord, title: str) -> None:
    assert rows(with_metrics(make_record(), {}))["vgg16"][title] == ""


def test_before_training_there_are_no_rows(make_record: MakeRecord) -> None:
    assert summary_rows(make_record(candidates={}, winner=None)) == []


def test_a_split_is_judged_whole_by_column_and_by_pair() -> None:
    assert slice_combinations(["a", "b", "c"]) == [
        (), ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"),
    ]  # fmt: skip


def test_without_columns_it_is_judged_whole() -> None:
    assert slice_combinations([]) == [()]
