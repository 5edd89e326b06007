"""What keeps a model from being pushed."""

from __future__ import annotations

import math

import pytest

from components.model_gate.rules import violations


@pytest.mark.parametrize("value", [0.75, 0.76, 1.0])
def test_a_minimum_that_is_reached_is_no_violation(value: float) -> None:
    assert violations({"accuracy": value}, minimum={"accuracy": 0.75}) == []


def test_a_minimum_that_is_missed_is_said_in_figures() -> None:
    (line,) = violations({"accuracy": 0.5}, minimum={"accuracy": 0.75})
    assert line == "accuracy on test is 0.5, below the minimum of 0.75"


@pytest.mark.parametrize("minimum", [0.0, 0.5])
def test_an_undefined_metric_satisfies_no_minimum(minimum: float) -> None:
    (line,) = violations({"roc_auc": math.nan}, minimum={"roc_auc": minimum})
    assert line.startswith("roc_auc on test is nan")


def test_every_rule_that_is_broken_has_a_line() -> None:
    metrics = {"accuracy": 0.9, "recall": 0.1, "f1": 0.2}
    lines = violations(metrics, minimum={"accuracy": 0.8, "recall": 0.8, "f1": 0.8})
    assert [line.split()[0] for line in lines] == ["recall", "f1"]


def test_without_rules_every_model_passes() -> None:
    assert violations({"accuracy": 0.0, "roc_auc": math.nan}, minimum={}) == []
