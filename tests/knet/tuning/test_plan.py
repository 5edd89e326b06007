"""Plan of a search as a file, and the objective."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from knet.base.errors import UserError
from knet.tuning.plan import DIRECTIONS, PLAN, SearchPlan, score


def test_read_inverts_write(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    plan = make_plan(
        "tuning.lstm_units=[16]", warm_start=({"learning_rate": 0.1, "momentum": 0.5},), seconds=1
    )
    plan.write(tmp_path / "search")
    assert SearchPlan.read(tmp_path / "search") == plan
    assert len(list((tmp_path / "search").iterdir())) == 1


def test_read_refuses_the_plan_of_another_version(
    make_plan: Callable[..., SearchPlan], tmp_path: Path
) -> None:
    make_plan().write(tmp_path)
    file = tmp_path / PLAN
    file.write_text(file.read_text("utf-8").replace('"warm_start":[]', '"warm":[]'), "utf-8")
    with pytest.raises(UserError, match="plan.json: not a plan of this version.*delete the folder"):
        SearchPlan.read(tmp_path)


def test_make_evaluation_calls_the_named_function(make_plan: Callable[..., SearchPlan]) -> None:
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


def test_val_loss_of_a_certain_error_is_bounded_as_in_keras() -> None:
    wrong = np.array([[0.0, 1.0]], "float32")
    assert score(wrong, np.array([0]), objective="val_loss") == pytest.approx(-np.log(1e-7))


def test_balanced_accuracy_is_the_mean_recall() -> None:
    predicted = PROBABILITIES.argmax(axis=1)
    assert score(PROBABILITIES, LABELS, objective="balanced_accuracy") == pytest.approx(
        metrics.balanced_accuracy_score(LABELS, predicted)
    )
    assert DIRECTIONS["balanced_accuracy"] == "max"


def test_score_of_nan_probabilities_is_nan() -> None:
    assert np.isnan(score(np.full((1, 2), np.nan), np.array([0]), objective="val_loss"))
