"""Runs the trials of a search, alone or as one of several workers."""

from __future__ import annotations

import functools
import logging
import time
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine import base_tuner

from pipeline.progress import PROGRESS
from pipeline.tuning.oracles import make_oracle
from pipeline.tuning.search_plan import Evaluation, SearchPlan, TrialError
from pipeline.tuning.trials_table import EPOCHS, SECONDS, error_of


class TrialTuner(base_tuner.BaseTuner):
    """KerasTuner's loop over a plan's trials; finished ones of an earlier process are kept.

    KerasTuner's own variables (KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT) make it
    the chief, which hands out trials, or one of the workers.
    """

    def __init__(self, plan: SearchPlan, folder: Path) -> None:
        """Opens the search in its folder."""
        oracle = make_oracle(plan.tuning, plan.candidate, warm=plan.warm)
        oracle.verbose = 0
        super().__init__(oracle, directory=str(folder.parent), project_name=folder.name)
        self._plan = plan
        if isinstance(self.oracle, keras_tuner.Oracle) and (folder / "oracle.json").is_file():
            self.oracle.reload()

    @functools.cached_property
    def _evaluate(self) -> Evaluation:
        return self._plan.make_evaluation()

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Judges a trial's values; an error that is not of theirs ends the search."""
        values = {name: value for name, value in trial.hyperparameters.values.items() if "/" not in name}
        epochs = trial.hyperparameters.values.get(EPOCHS, self._plan.tuning.epochs)
        start = time.monotonic()
        try:
            score = self._evaluate(values, epochs)
        except TrialError as error:
            raise keras_tuner.errors.FailedTrialError(str(error)) from error
        except Exception as error:
            raise keras_tuner.errors.FatalError(str(error)) from error
        return {self._plan.tuning.objective: score, SECONDS: time.monotonic() - start}

    def on_trial_end(self, trial: Any) -> None:
        """Records it and says what it came to."""
        super().on_trial_end(trial)
        trial = self.oracle.get_trial(trial.trial_id)
        logging.getLogger(PROGRESS).info(
            "trial %d of at most %d: %s",
            int(trial.trial_id) + 1,
            self._plan.tuning.trials,
            error_of(trial) or f"{self._plan.tuning.objective} {trial.score:.4g}",
        )

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Until no trial is left; raises what ended it."""
        try:
            super().search(*args, **kwargs)
        except keras_tuner.errors.FatalError as error:
            raise error.__cause__ or error from None
