"""The trials of a search as a table, a row each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from knet.tuning.plan import DIRECTIONS

if TYPE_CHECKING:
    import keras_tuner

    from knet.tuning.plan import SearchPlan


COMPLETED: Final = "completed"
EPOCHS: Final = "tuner/epochs"  # of a Hyperband trial, among its values
SECONDS: Final = "seconds"  # among a trial's metrics


def trials_table(oracle: keras_tuner.Oracle, plan: SearchPlan) -> pd.DataFrame:
    """One row a trial, in their order.

    Its columns are `trial`, from 0; `source`, whence its values: `paper`, `warm start` or the method;
    `state`: `completed`, `failed` or `running`; the hyperparameters; `epochs`, at most; the objective, under
    its own name; `seconds`; and `error`, why it failed.
    """
    rows = [_row(oracle.trials[name], plan) for name in sorted(oracle.trials)]
    return pd.DataFrame(rows)


def best_trial(trials: pd.DataFrame, *, objective: str) -> pd.Series:
    """The row of the best completed trial; of equals the first, so that the paper's values need no reason."""
    completed = trials[trials["state"] == COMPLETED]
    scores = completed[objective]
    return completed.loc[scores.idxmin() if DIRECTIONS[objective] == "min" else scores.idxmax()]


def worst_score(trials: pd.DataFrame, *, objective: str) -> float:
    """The objective of the worst completed trial."""
    scores = trials[trials["state"] == COMPLETED][objective]
    return float(scores.max() if DIRECTIONS[objective] == "min" else scores.min())


def chosen_values(trial: pd.Series, plan: SearchPlan) -> dict[str, float]:
    """The hyperparameters of a row, as plain numbers."""
    ranges = {name: float(trial[name]) for name in plan.tuning.ranges}
    return {**ranges, **{name: int(trial[name]) for name in plan.tuning.choices}}


def error_of(trial: Any) -> str:
    """Why a trial failed: the last line of the stack trace that KerasTuner keeps; empty where it did not."""
    last = (trial.message or "").strip().rpartition("\n")[2]
    return last.partition("Error: ")[2] or last


def _row(trial: Any, plan: SearchPlan) -> dict[str, Any]:
    tuning, number = plan.tuning, int(trial.trial_id)
    values = trial.hyperparameters.values
    seconds = trial.metrics.get_best_value(SECONDS) if trial.metrics.exists(SECONDS) else None
    return {
        "trial": number,
        "source": _source(number, plan),
        "state": trial.status.lower(),
        **{name: values[name] for name in (*tuning.ranges, *tuning.choices)},
        "epochs": values.get(EPOCHS, tuning.epochs),
        tuning.objective: trial.score,
        SECONDS: seconds,
        "error": error_of(trial),
    }


def _source(number: int, plan: SearchPlan) -> str:
    if number == 0:
        return "paper"
    return "warm start" if number <= len(plan.warm) else plan.tuning.method
