"""The table of candidates."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.evaluation.summary import SUMMARY_HEADER, summary_rows
from pipeline.run_record import RunRecord

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
