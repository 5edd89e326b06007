"""Writes the best hyperparameters as Trainer reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from pipeline.tuning.search_plan import SearchPlan
from pipeline.tuning.search_space import search_space
from pipeline.tuning.trials_table import best_trial, chosen_values

_FILE = "best_hyperparameters.txt"  # as TFX's own Tuner names it; alone in its folder


def write_best(trials: pd.DataFrame, plan: SearchPlan, folder: Path) -> None:
    """Writes KerasTuner's HyperParameters as JSON.

    Args:
        trials: as `trials_table` makes them; one is completed at least.
        plan: the search.
        folder: where.
    """
    space = search_space(plan.tuning, plan.candidate)
    space.values = chosen_values(best_trial(trials, objective=plan.tuning.objective), plan)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE).write_text(json.dumps(space.get_config()), encoding="utf-8")
