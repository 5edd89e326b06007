"""Table of the trials of a search, and queries on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from knet.tuning.plan import DIRECTIONS

if TYPE_CHECKING:
    import keras_tuner

    from knet.tuning.plan import SearchPlan


COMPLETED: Final = "completed"
EPOCHS: Final = "tuner/epochs"  # among the values of a Hyperband trial
SECONDS: Final = "seconds"  # among the metrics of a trial


def trials_table(oracle: keras_tuner.Oracle, plan: SearchPlan) -> pd.DataFrame:
    """Return a table with a row for each trial, in the order of their numbers.

    Columns:
        trial: Number, from 0.
        source: Origin of the values: `paper` (with AdamW `default`), `warm start`, or the search method.
        state: `completed`, `failed` or `running`.
        A column for each hyperparameter, under its name.
        epochs: Maximum number of epochs.
        A column for the objective, under its name.
        seconds: Duration.
        error: Reason of a failure; empty otherwise.
    """
    rows = [_row(oracle.trials[name], plan) for name in sorted(oracle.trials)]
    return pd.DataFrame(rows)


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
        "error": trial_error(trial),
    }


def _source(number: int, plan: SearchPlan) -> str:
    if number == 0:
        return "paper" if "momentum" in plan.tuning.ranges else "default"
    return "warm start" if number <= len(plan.warm_start) else plan.tuning.method


def trial_error(trial: Any) -> str:
    """Return the reason of a failed trial, the last line of its stack trace; empty for other trials.

    Args:
        trial: A trial of KerasTuner.
    """
    last = (trial.message or "").strip().rpartition("\n")[2]
    return last.partition("Error: ")[2] or last


def best_trial(trials: pd.DataFrame, *, objective: str) -> pd.Series:
    """Return the row of the best completed trial; among equals the first, so the paper's values win a tie."""
    completed = trials[trials["state"] == COMPLETED]
    scores = completed[objective]
    return completed.loc[scores.idxmin() if DIRECTIONS[objective] == "min" else scores.idxmax()]


def worst_score(trials: pd.DataFrame, *, objective: str) -> float:
    """Return the objective of the worst completed trial."""
    scores = trials[trials["state"] == COMPLETED][objective]
    return float(scores.max() if DIRECTIONS[objective] == "min" else scores.min())


def trial_hyperparameters(trial: pd.Series, plan: SearchPlan) -> dict[str, float]:
    """Return the hyperparameters of a row as Python numbers, by name."""
    ranges = {name: float(trial[name]) for name in plan.tuning.ranges}
    return {**ranges, **{name: int(trial[name]) for name in plan.tuning.choices}}
