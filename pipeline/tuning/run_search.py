"""Runs a search to its end, wherever its trials are run."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pandas as pd

from pipeline.errors import UserError
from pipeline.progress import PROGRESS
from pipeline.tuning.run_workers import run_workers
from pipeline.tuning.search_plan import SearchPlan
from pipeline.tuning.trial_tuner import TrialTuner
from pipeline.tuning.trials_table import COMPLETED, trials_table
from pipeline.tuning.work import ENDED

_POLL = 1.0  # seconds


def run_search(plan: SearchPlan, folder: Path, *, pods: bool = False) -> pd.DataFrame:
    """Runs the trials that are left, and returns all, as `trials_table` does.

    Args:
        plan: the search.
        folder: its own, where it is found again after a kill.
        pods: that processes elsewhere which see the folder run it (`k8s/tuner`).

    Raises:
        UserError: all trials failed, or what they are run on is not usable.
    """
    plan.write(folder)
    if pods:
        _wait(folder)
    elif plan.tuning.workers > 1:
        run_workers(folder, workers=plan.tuning.workers)
    # What they left, where they were killed; all, where there were none.
    tuner = TrialTuner(plan, folder)
    tuner.search()
    trials = trials_table(tuner.oracle, plan)
    if not (trials["state"] == COMPLETED).any():
        raise UserError(
            f"all {len(trials)} trials of the search on {plan.candidate.name} failed; the last one: "
            f"{trials['error'].iloc[-1]}"
        )
    return trials


def _wait(folder: Path) -> None:
    logging.getLogger(PROGRESS).info("waiting for the chief and the workers of k8s/tuner: %s", folder)
    while not (folder / ENDED).exists():
        time.sleep(_POLL)
