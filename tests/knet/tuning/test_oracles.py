"""Search space, initial values and grid."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from knet.training.candidate import apply_hyperparameters
from knet.tuning.oracles import grid, paper_values, search_space, warm_start_values
from knet.tuning.plan import SearchPlan

ALL = (
    *("tuning.learning_rate_decay={low: 0.9}", "tuning.dropout={low: 0.1, high: 0.5}"),
    *("tuning.lstm_units=[16, 64]", "tuning.dense_units=[16]", "tuning.blocks=[0, 2]"),
    *("training.fine_tune=blocks", "training.blocks=1"),
)


def test_paper_values_have_the_candidates_other_values(make_plan: Callable[..., SearchPlan]) -> None:
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


def test_search_space_has_ranges_and_choices(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan(*ALL)
    space = {hp.name: hp for hp in search_space(plan.tuning, plan.candidate).space}
    rate = space["learning_rate"]
    assert (rate.min_value, rate.max_value, rate.sampling) == (0.001, 0.1, "log")
    assert (space["momentum"].min_value, space["momentum"].sampling) == (0.5, "linear")
    assert list(space["lstm_units"].values) == [16, 32, 64]
    assert list(space["blocks"].values) == [0, 1, 2]


def test_search_space_is_learning_rate_and_momentum_by_default(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan()
    names = [hp.name for hp in search_space(plan.tuning, plan.candidate).space]
    assert names == ["learning_rate", "momentum"]


def test_search_space_of_adamw_has_weight_decay_for_momentum(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan("training.optimizer=adamw", "tuning.weight_decay={high: 0.05}")
    space = {hp.name: hp for hp in search_space(plan.tuning, plan.candidate).space}
    assert set(space) == {"learning_rate", "weight_decay"}
    decay = space["weight_decay"]
    assert (decay.min_value, decay.max_value, decay.sampling) == (1e-5, 0.05, "log")
    assert paper_values(plan.tuning, plan.candidate) == {"learning_rate": 0.001, "weight_decay": 0.004}
    changed = apply_hyperparameters(plan.candidate, {"learning_rate": 0.01, "weight_decay": 0.02})
    assert (changed.training.learning_rate, changed.training.weight_decay) == (0.01, 0.02)


def test_search_without_a_range_leaves_the_configured_value(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan("tuning.momentum=null", "training.momentum=0.7")
    assert [hp.name for hp in search_space(plan.tuning, plan.candidate).space] == ["learning_rate"]
    assert plan.candidate.training.momentum == 0.7


def test_grid_has_every_combination(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan("tuning.lstm_units=[16]", "tuning.grid_points=3")
    points = grid(plan.tuning, plan.candidate)
    assert len(points) == 3 * 3 * 2 == len({tuple(point.values()) for point in points})
    rates = sorted({point["learning_rate"] for point in points})
    assert rates == pytest.approx([0.001, 0.01, 0.1])


def test_apply_hyperparameters_changes_head_and_training(make_plan: Callable[..., SearchPlan]) -> None:
    plan = make_plan(*ALL)
    values = paper_values(plan.tuning, plan.candidate) | {"momentum": 0.6, "lstm_units": 64, "blocks": 2}
    changed = apply_hyperparameters(plan.candidate, values)
    assert (changed.training.momentum, changed.training.blocks, changed.head.lstm_units) == (0.6, 2, 64)
    assert changed.training.batch_size == plan.candidate.training.batch_size


ROWS = [
    {"learning_rate": 0.001, "momentum": 0.9, "state": "completed", "val_loss": 0.1},  # the paper's values
    {"learning_rate": 0.02, "momentum": 0.8, "state": "completed", "val_loss": 0.3},
    {"learning_rate": 0.01, "momentum": 0.6, "state": "completed", "val_loss": 0.2},
    {"learning_rate": 0.5, "momentum": 0.6, "state": "completed", "val_loss": 0.05},  # outside the range
    {"learning_rate": 0.03, "momentum": 0.7, "state": "failed", "val_loss": None},
    {"learning_rate": 0.04, "momentum": 0.7, "state": "completed", "val_loss": 0.4},
]


@pytest.fixture
def warm_start(make_plan: Callable[..., SearchPlan], tmp_path: Path) -> Callable[..., Any]:
    def read(rows: list[dict[str, Any]], *overrides: str) -> Any:
        plan = make_plan("tuning.trials=9", "tuning.warm_start=2", *overrides)
        pd.DataFrame(rows).to_csv(tmp_path / "trials.csv", index=False)
        return warm_start_values(tmp_path / "trials.csv", plan.tuning, plan.candidate)

    return read


def test_warm_start_is_the_best_values_in_the_space(warm_start: Any) -> None:
    assert warm_start(ROWS) == (
        {"learning_rate": 0.01, "momentum": 0.6},
        {"learning_rate": 0.02, "momentum": 0.8},
    )


def test_warm_start_prefers_larger_balanced_accuracy(warm_start: Any) -> None:
    rows = [{**row, "balanced_accuracy": row["val_loss"]} for row in ROWS]
    for row in rows:
        del row["val_loss"]
    assert warm_start(rows)[0] == {"learning_rate": 0.04, "momentum": 0.7}


def test_warm_start_has_integer_choices_of_this_search(warm_start: Any) -> None:
    rows = [{**row, "lstm_units": units} for row, units in zip(ROWS, (32, 64, 16, 16, 16, 99), strict=True)]
    assert warm_start(rows, "tuning.lstm_units=[16]") == (
        {"learning_rate": 0.01, "momentum": 0.6, "lstm_units": 16},
    )


def test_warm_start_without_a_hyperparameter_is_empty(warm_start: Any) -> None:
    assert warm_start(ROWS, "tuning.dropout={}") == ()
