"""The space is the configuration's; the first values are the paper's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from knet.training.candidate import apply_hyperparameters
from knet.tuning.oracles import grid, paper_values, search_space, warm_values
from knet.tuning.plan import SearchPlan

ALL = (
    *("tuning.learning_rate_decay={low: 0.9}", "tuning.dropout={low: 0.1, high: 0.5}"),
    *("tuning.lstm_units=[16, 64]", "tuning.dense_units=[16]", "tuning.blocks=[0, 2]"),
    *("training.fine_tune=blocks", "training.blocks=1"),
)


def test_the_paper_s_values_come_with_what_the_candidate_has(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan(*ALL)
    assert paper_values(plan.tuning, plan.candidate) == {
        "learning_rate": 0.001,
        "momentum": 0.9,
        "learning_rate_decay": 0.95,
        "dropout": 0.2,
        "lstm_units": 32,
        "dense_units": 32,
        "blocks": 1,
    }


def test_the_space_has_the_ranges_and_the_choices(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan(*ALL)
    space = {hp.name: hp for hp in search_space(plan.tuning, plan.candidate).space}
    rate = space["learning_rate"]
    assert (rate.min_value, rate.max_value, rate.sampling) == (0.001, 0.1, "log")
    assert (space["momentum"].min_value, space["momentum"].sampling) == (0.5, "linear")
    assert list(space["lstm_units"].values) == [16, 32, 64]
    assert list(space["blocks"].values) == [0, 1, 2]


def test_only_learning_rate_and_momentum_are_searched_by_default(
    make_plan: Callable[..., SearchPlan],
) -> None:
    plan = make_plan()
    names = [hp.name for hp in search_space(plan.tuning, plan.candidate).space]
    assert names == ["learning_rate", "momentum"]


def test_a_grid_has_every_combination(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan("tuning.lstm_units=[16]", "tuning.grid_points=3")
    points = grid(plan.tuning, plan.candidate)
    assert len(points) == 3 * 3 * 2 == len({tuple(point.values()) for point in points})
    rates = sorted({point["learning_rate"] for point in points})
    assert rates == pytest.approx([0.001, 0.01, 0.1])


def test_values_reach_head_and_training(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan(*ALL)
    values = paper_values(plan.tuning, plan.candidate) | {"momentum": 0.6, "lstm_units": 64, "blocks": 2}
    changed = apply_hyperparameters(plan.candidate, values)
    assert (changed.training.momentum, changed.training.blocks, changed.head.lstm_units) == (0.6, 2, 64)
    assert changed.training.batch_size == plan.candidate.training.batch_size


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
