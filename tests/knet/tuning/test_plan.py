"""A plan is the same for every process that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from knet.tuning.plan import DIRECTIONS, SearchPlan, score


def test_it_is_read_as_it_was_written(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    plan = make_plan("tuning.lstm_units=[16]", warm=({"learning_rate": 0.1, "momentum": 0.5},), seconds=1)
    plan.write(tmp_path / "search")
    assert SearchPlan.read(tmp_path / "search") == plan
    assert len(list((tmp_path / "search").iterdir())) == 1


def test_it_makes_what_judges_the_trials(make_plan: Callable[..., SearchPlan]) -> None:
    evaluate = make_plan(best={"learning_rate": 0.1, "momentum": 0.5}).make_evaluation()
    assert evaluate({"learning_rate": 1.0, "momentum": 0.7}, 1) == pytest.approx(1.04)


LABELS = np.array([0, 0, 0, 1, 1])
FIRST = np.array([0.9, 0.2, 0.6, 0.3, 0.8])
PROBABILITIES = np.stack([FIRST, 1 - FIRST], axis=1).astype("float32")


def test_val_loss_is_the_mean_cross_entropy() -> None:
    assert score(PROBABILITIES, LABELS, objective="val_loss") == pytest.approx(
        metrics.log_loss(LABELS, PROBABILITIES)
    )
    assert DIRECTIONS["val_loss"] == "min"


def test_certainty_of_the_wrong_class_costs_no_more_than_keras_lets_it() -> None:
    wrong = np.array([[0.0, 1.0]], "float32")
    assert score(wrong, np.array([0]), objective="val_loss") == pytest.approx(-np.log(1e-7))


def test_balanced_accuracy_is_the_mean_of_both_recalls() -> None:
    called = PROBABILITIES.argmax(axis=1)
    assert score(PROBABILITIES, LABELS, objective="balanced_accuracy") == pytest.approx(
        metrics.balanced_accuracy_score(LABELS, called)
    )
    assert DIRECTIONS["balanced_accuracy"] == "max"


def test_probabilities_that_are_not_numbers_give_no_score() -> None:
    assert np.isnan(score(np.full((1, 2), np.nan), np.array([0]), objective="val_loss"))
