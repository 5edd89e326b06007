"""KerasTuner's search methods, which begin with given values and keep their state whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np

from pipeline.candidate import Candidate
from pipeline.config import TuningConfig
from pipeline.tuning.objective import DIRECTIONS
from pipeline.tuning.search_space import Values, grid, paper_values, search_space

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
        part = file.with_name(f".{file.name}")
        # The class above writes in place.
        super(keras_tuner.Oracle, self).save(str(part))  # type: ignore[misc]
        part.replace(file)

    def _save_trial(self, trial: Any) -> None:
        file = Path(self._get_trial_dir(trial.trial_id)) / "trial.json"  # type: ignore[attr-defined]
        part = file.with_name(f".{file.name}")
        trial.save(str(part))
        part.replace(file)


class _Bayesian(_Given, keras_tuner.oracles.BayesianOptimizationOracle):
    def populate_space(self, trial_id: str) -> dict[str, Any]:
        # By the trial's number, so that a search that was killed goes on as it would have.
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
