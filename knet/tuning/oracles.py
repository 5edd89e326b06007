"""Search space and search methods: KerasTuner's oracles with initial values and atomic state files."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
import pandas as pd

from knet.base.files import atomic_write
from knet.training.candidate import Candidate
from knet.training.settings import TrainingConfig
from knet.tuning.plan import DIRECTIONS, Values
from knet.tuning.settings import REPLACED, TuningConfig
from knet.tuning.trials import COMPLETED

_HYPERBAND_FACTOR = 3


def make_oracle(
    tuning: TuningConfig, candidate: Candidate, *, warm_start: Sequence[Values] = ()
) -> keras_tuner.Oracle:
    """Create the oracle of the configured method.

    The first trials have the paper's values, then those of `warm_start`, all with the full number of epochs.
    They belong to no bracket of Hyperband and to no grid.

    Args:
        tuning: Settings of the search.
        candidate: The model to search on.
        warm_start: Hyperparameters to try after the paper's.
    """
    initial = [paper_values(tuning, candidate), *warm_start]
    settings: dict[str, Any] = {
        "initial": initial,
        "objective": keras_tuner.Objective(tuning.objective, DIRECTIONS[tuning.objective]),
        # KerasTuner reads a seed of 0 as no seed.
        "seed": 1 + (candidate.seed if tuning.seed is None else tuning.seed),
        "hyperparameters": search_space(tuning, candidate),
        "max_consecutive_failed_trials": tuning.trials + 1,  # failures do not end the search
    }
    if tuning.method == "hyperband":
        oracle = _Hyperband(max_epochs=tuning.epochs, factor=_HYPERBAND_FACTOR, **settings)
        oracle.max_trials = tuning.trials  # the brackets may end sooner
        return oracle
    if tuning.method == "grid":
        points = [values for values in grid(tuning, candidate) if values not in initial]
        return _Grid(points=points, max_trials=tuning.trials, **settings)
    method = {"bayesian": _Bayesian, "random": _Random}[tuning.method]
    return method(max_trials=tuning.trials, **settings)


class _InitialValues:
    """Mixin of an oracle: propose initial values before those of the method, and write files atomically."""

    def __init__(self, *args: Any, initial: Sequence[Values], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial = initial

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        number = int(trial_id)
        if number < len(self.initial):
            return {"status": "RUNNING", "values": dict(self.initial[number])}
        return super().populate_space(trial_id)  # type: ignore[misc]

    def reload(self) -> None:
        super().reload()  # type: ignore[misc]
        trials: dict[str, Any] = self.trials  # type: ignore[attr-defined]
        # Trials that a kill interrupted. KerasTuner pops from the end of the queue.
        interrupted = [name for name in sorted(trials, reverse=True) if trials[name].status == "RUNNING"]
        self._retry_queue = interrupted

    def save(self) -> None:
        file = Path(self._get_oracle_fname())  # type: ignore[attr-defined]
        save = super(keras_tuner.Oracle, self).save  # type: ignore[misc]  # Oracle.save writes in place
        atomic_write(file, lambda path: save(str(path)))

    def _save_trial(self, trial: Any) -> None:
        file = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"  # type: ignore[attr-defined]
        atomic_write(file, lambda path: trial.save(str(path)))


class _Bayesian(_InitialValues, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # Seeded by the trial's number, so that a resumed search proposes the same values.
        self._random_state = np.random.RandomState(self.seed + int(trial_id))
        return super().populate_space(trial_id)


class _Random(_InitialValues, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Hyperband(_InitialValues, keras_tuner.oracles.HyperbandOracle):
    pass


class _Grid(_InitialValues, keras_tuner.Oracle):
    """Grid search; KerasTuner's own oracle cannot be resumed and accepts no initial values."""

    def __init__(self, *, points: Sequence[Values], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._points = points

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        point = int(trial_id) - len(self.initial)
        if point >= len(self._points):
            return {"status": "STOPPED", "values": None}
        if point >= 0:
            return {"status": "RUNNING", "values": dict(self._points[point])}
        return super().populate_space(trial_id)


_LOG_SCALED = ("learning_rate", "weight_decay")


def search_space(tuning: TuningConfig, candidate: Candidate) -> keras_tuner.HyperParameters:
    """Return the ranges and choices to search; choices always include the candidate's configured value."""
    space = keras_tuner.HyperParameters()
    for name, limits in tuning.ranges.items():
        sampling = "log" if name in _LOG_SCALED else "linear"
        space.Float(name, limits.low, limits.high, sampling=sampling)
    for name, choices in _choices(tuning, candidate).items():
        space.Choice(name, choices)
    return space


def paper_values(tuning: TuningConfig, candidate: Candidate) -> Values:
    """Return the paper's learning rate and momentum, with the candidate's value of everything else.

    Weight decay has its default, since the paper has none.
    """
    paper = TrainingConfig()
    values = _configured_values(candidate)
    values |= {name: getattr(paper, name) for name in REPLACED}
    return {name: values[name] for name in (*tuning.ranges, *tuning.choices)}


def grid(tuning: TuningConfig, candidate: Candidate) -> list[Values]:
    """Return all combinations of the choices and of `grid_points` values of each range, ends included."""
    axes: dict[str, Sequence[Any]] = {}
    for name, limits in tuning.ranges.items():
        spaced = np.geomspace if name in _LOG_SCALED else np.linspace
        axes[name] = spaced(limits.low, limits.high, tuning.grid_points).tolist()
    axes |= _choices(tuning, candidate)
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _choices(tuning: TuningConfig, candidate: Candidate) -> dict[str, list[int]]:
    configured = _configured_values(candidate)
    return {name: sorted({*choices, configured[name]}) for name, choices in tuning.choices.items()}


def _configured_values(candidate: Candidate) -> Values:
    training, head = candidate.training, candidate.head
    return {
        "learning_rate_decay": training.learning_rate_decay,
        "blocks": training.blocks,
        "lstm_units": head.lstm_units,
        "dense_units": head.dense_units,
        "dropout": head.dropout,
    }


def warm_start_values(previous: Path, tuning: TuningConfig, candidate: Candidate) -> tuple[Values, ...]:
    """Return the best hyperparameters of an earlier search that are inside this search's space.

    They are evaluated again: scores on other images or of another model are not comparable.

    Args:
        previous: CSV file of `trials_table`. Hyperparameters that this search lacks are ignored.
        tuning: Settings of this search.
        candidate: The model of this search.

    Returns:
        At most `tuning.warm_start` values, the best first; none if the table lacks a hyperparameter.
    """
    trials = pd.read_csv(previous, float_precision="round_trip")
    objective = next((name for name in DIRECTIONS if name in trials), None)
    names = [*tuning.ranges, *tuning.choices]
    if objective is None or not set(names) <= set(trials):
        return ()
    trials = trials[trials["state"] == COMPLETED]
    ordered = trials.sort_values(objective, ascending=DIRECTIONS[objective] == "min", kind="stable")
    initial = [paper_values(tuning, candidate)]
    for row in ordered[names].to_dict("records"):
        values = {name: int(row[name]) if name in tuning.choices else float(row[name]) for name in names}
        if _in_space(values, tuning, candidate) and values not in initial:
            initial.append(values)
    return tuple(initial[1 : 1 + tuning.warm_start])


def _in_space(values: Values, tuning: TuningConfig, candidate: Candidate) -> bool:
    return all(limits.low <= values[name] <= limits.high for name, limits in tuning.ranges.items()) and all(
        values[name] in choices for name, choices in _choices(tuning, candidate).items()
    )
