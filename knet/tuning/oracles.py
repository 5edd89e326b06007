"""KerasTuner's search methods, which begin with given values and keep their state whole."""

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
from knet.tuning.plan import DIRECTIONS
from knet.tuning.settings import TuningConfig
from knet.tuning.trials import COMPLETED

_FACTOR = 3  # of Hyperband


def make_oracle(
    tuning: TuningConfig, candidate: Candidate, *, warm: Sequence[Values] = ()
) -> keras_tuner.Oracle:
    """The configured method. Its first trials are the paper's values and then `warm`, all at full budget.

    They belong to no bracket of Hyperband's and to no grid.
    """
    given = [paper_values(tuning, candidate), *warm]
    settings: dict[str, Any] = {
        "given": given,
        "objective": keras_tuner.Objective(tuning.objective, DIRECTIONS[tuning.objective]),
        # KerasTuner takes 0 for no seed.
        "seed": 1 + (candidate.seed if tuning.seed is None else tuning.seed),
        "hyperparameters": search_space(tuning, candidate),
        "max_consecutive_failed_trials": tuning.trials + 1,  # failures end no search
    }
    if tuning.method == "hyperband":
        oracle = _Hyperband(max_epochs=tuning.epochs, factor=_FACTOR, **settings)
        oracle.max_trials = tuning.trials  # the brackets may end sooner
        return oracle
    if tuning.method == "grid":
        points = [values for values in grid(tuning, candidate) if values not in given]
        return _Grid(points=points, max_trials=tuning.trials, **settings)
    method = {"bayesian": _Bayesian, "random": _Random}[tuning.method]
    return method(max_trials=tuning.trials, **settings)


class _Given:
    """Proposes given values before those of a method, and writes its files whole or not at all."""

    def __init__(self, *args: Any, given: Sequence[Values], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.given = given

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        number = int(trial_id)
        if number < len(self.given):
            return {"status": "RUNNING", "values": dict(self.given[number])}
        return super().populate_space(trial_id)  # type: ignore[misc]

    def reload(self) -> None:
        super().reload()  # type: ignore[misc]
        trials: dict[str, Any] = self.trials  # type: ignore[attr-defined]
        # Whatever the process was at when it was killed; the last of the list is taken first.
        begun = [name for name in sorted(trials, reverse=True) if trials[name].status == "RUNNING"]
        self._retry_queue = begun

    def save(self) -> None:
        file = Path(self._get_oracle_fname())  # type: ignore[attr-defined]
        save = super(keras_tuner.Oracle, self).save  # type: ignore[misc]  # Oracle's writes in place
        atomic_write(file, lambda path: save(str(path)))

    def _save_trial(self, trial: Any) -> None:
        file = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"  # type: ignore[attr-defined]
        atomic_write(file, lambda path: trial.save(str(path)))


class _Bayesian(_Given, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # By the trial's number, so that a killed search continues with the same values.
        self._random_state = np.random.RandomState(self.seed + int(trial_id))
        return super().populate_space(trial_id)


class _Random(_Given, keras_tuner.oracles.RandomSearchOracle):
    pass


class _Hyperband(_Given, keras_tuner.oracles.HyperbandOracle):
    pass


class _Grid(_Given, keras_tuner.Oracle):
    """KerasTuner's own does not survive a kill, and would take no given values."""

    def __init__(self, *, points: Sequence[Values], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._points = points

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        place = int(trial_id) - len(self.given)
        if place >= len(self._points):
            return {"status": "STOPPED", "values": None}
        if place >= 0:
            return {"status": "RUNNING", "values": dict(self._points[place])}
        return super().populate_space(trial_id)


Values = dict[str, Any]  # of hyperparameters, by name
_LOG = ("learning_rate",)


def search_space(tuning: TuningConfig, candidate: Candidate) -> keras_tuner.HyperParameters:
    """The ranges and choices of a configuration; what the candidate has is always among the choices."""
    space = keras_tuner.HyperParameters()
    for name, limits in tuning.ranges.items():
        sampling = "log" if name in _LOG else "linear"
        space.Float(name, limits.low, limits.high, sampling=sampling)
    own = _own_values(candidate)
    for name, choices in tuning.choices.items():
        space.Choice(name, sorted({*choices, own[name]}))
    return space


def paper_values(tuning: TuningConfig, candidate: Candidate) -> Values:
    """The paper's learning rate and momentum, and of all else that is searched what the candidate has."""
    paper = TrainingConfig()
    values = _own_values(candidate)
    values |= {"learning_rate": paper.learning_rate, "momentum": paper.momentum}
    return {name: values[name] for name in (*tuning.ranges, *tuning.choices)}


def grid(tuning: TuningConfig, candidate: Candidate) -> list[Values]:
    """Every combination of the choices and of `grid_points` values of each range, its ends included."""
    axes: dict[str, Sequence[Any]] = {}
    for name, limits in tuning.ranges.items():
        spaced = np.geomspace if name in _LOG else np.linspace
        axes[name] = spaced(limits.low, limits.high, tuning.grid_points).tolist()
    own = _own_values(candidate)
    axes |= {name: sorted({*choices, own[name]}) for name, choices in tuning.choices.items()}
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


def _own_values(candidate: Candidate) -> Values:
    training, head = candidate.training, candidate.head
    return {
        "learning_rate_decay": training.learning_rate_decay,
        "blocks": training.blocks,
        "lstm_units": head.lstm_units,
        "dense_units": head.dense_units,
        "dropout": head.dropout,
    }


def warm_values(previous: Path, tuning: TuningConfig, candidate: Candidate) -> tuple[Values, ...]:
    """The best values of an earlier search that this one's space holds, best first, `warm_start` at most.

    They are tried again, since scores on other images or with another model say nothing here.

    Args:
        previous: its table, as `trials_table` makes it; what this search does not look for is passed over.
        tuning: the search.
        candidate: it is made on.
    """
    trials = pd.read_csv(previous, float_precision="round_trip")
    objective = next((name for name in DIRECTIONS if name in trials), None)
    names = [*tuning.ranges, *tuning.choices]
    if objective is None or not set(names) <= set(trials):
        return ()
    trials = trials[trials["state"] == COMPLETED]
    ordered = trials.sort_values(objective, ascending=DIRECTIONS[objective] == "min", kind="stable")
    given = [paper_values(tuning, candidate)]
    for row in ordered[names].to_dict("records"):
        values = {name: int(value) if name in _WHOLE else float(value) for name, value in row.items()}
        if _inside(values, tuning, candidate) and values not in given:
            given.append(values)
    return tuple(given[1 : 1 + tuning.warm_start])


_WHOLE = ("lstm_units", "dense_units", "blocks")


def _inside(values: Values, tuning: TuningConfig, candidate: Candidate) -> bool:
    choices = {
        hp.name: hp.values for hp in search_space(tuning, candidate).space if hp.name in tuning.choices
    }
    return all(limits.low <= values[name] <= limits.high for name, limits in tuning.ranges.items()) and all(
        values[name] in allowed for name, allowed in choices.items()
    )
