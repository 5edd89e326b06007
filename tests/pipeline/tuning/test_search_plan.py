"""A plan is the same for every process that reads it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.tuning.search_plan import SearchPlan


def test_it_is_read_as_it_was_written(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> None:
    plan = make_plan("tuning.lstm_units=[16]", warm=({"learning_rate": 0.1, "momentum": 0.5},), seconds=1)
    plan.write(tmp_path / "search")
    assert SearchPlan.read(tmp_path / "search") == plan
    assert len(list((tmp_path / "search").iterdir())) == 1


def test_it_makes_what_judges_the_trials(make_plan: Callable[..., SearchPlan]) -> None:
    evaluate = make_plan(best={"learning_rate": 0.1, "momentum": 0.5}).make_evaluation()
    assert evaluate({"learning_rate": 1.0, "momentum": 0.7}, 1) == pytest.approx(1.04)
