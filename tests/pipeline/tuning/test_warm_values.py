"""A search takes from an earlier one what its own space holds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pipeline.tuning.search_plan import SearchPlan
from pipeline.tuning.warm_values import warm_values

ROWS = [
    {"learning_rate": 0.001, "momentum": 0.9, "state": "completed", "val_loss": 0.1},  # the paper's
    {"learning_rate": 0.02, "momentum": 0.8, "state": "completed", "val_loss": 0.3},
    {"learning_rate": 0.01, "momentum": 0.6, "state": "completed", "val_loss": 0.2},
    {"learning_rate": 0.5, "momentum": 0.6, "state": "completed", "val_loss": 0.05},  # outside
    {"learning_rate": 0.03, "momentum": 0.7, "state": "failed", "val_loss": None},
    {"learning_rate": 0.04, "momentum": 0.7, "state": "completed", "val_loss": 0.4},
]


@pytest.fixture
def values(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> Callable[..., Any]:
    def take(rows: list[dict[str, Any]], *overrides: str) -> Any:
        plan = make_plan("tuning.trials=9", "tuning.warm_start=2", *overrides)
        pd.DataFrame(rows).to_csv(tmp_path / "trials.csv", index=False)
        return warm_values(tmp_path / "trials.csv", plan.tuning, plan.candidate)

    return take


def test_the_best_come_first_but_neither_the_paper_s_nor_what_lies_outside(values: Any) -> None:
    assert values(ROWS) == (
        {"learning_rate": 0.01, "momentum": 0.6},
        {"learning_rate": 0.02, "momentum": 0.8},
    )


def test_balanced_accuracy_is_better_when_it_is_larger(values: Any) -> None:
    rows = [{**row, "balanced_accuracy": row["val_loss"]} for row in ROWS]
    for row in rows:
        del row["val_loss"]
    assert values(rows)[0] == {"learning_rate": 0.04, "momentum": 0.7}


def test_choices_are_whole_numbers_of_this_search(values: Any) -> None:
    rows = [{**row, "lstm_units": units} for row, units in zip(ROWS, (32, 64, 16, 16, 16, 99), strict=True)]
    assert values(rows, "tuning.lstm_units=[16]") == (
        {"learning_rate": 0.01, "momentum": 0.6, "lstm_units": 16},
    )


def test_a_search_for_less_gives_nothing(values: Any) -> None:
    assert values(ROWS, "tuning.dropout={}") == ()
