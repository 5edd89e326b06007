"""Writes what there is to see of a search."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.tuning.plots.best_so_far import best_so_far
from pipeline.tuning.plots.parallel_coordinates import parallel_coordinates
from pipeline.tuning.plots.rate_and_momentum import rate_and_momentum
from pipeline.tuning.search_plan import SearchPlan
from pipeline.tuning.trials_table import COMPLETED, TABLE, best_trial, chosen_values
from pipeline.tuning.write_hparams import write_hparams

SUMMARY = "summary.json"  # a `TuningRecord`, but for its folder


def write_trials(trials: pd.DataFrame, plan: SearchPlan, folder: Path) -> None:
    """Writes the table as CSV, a summary, the plots as SVG, and HParams for TensorBoard.

    Args:
        trials: as `trials_table` makes them; one is completed at least.
        plan: the search.
        folder: where.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trials.to_csv(folder / TABLE, index=False)
    (folder / SUMMARY).write_text(json.dumps(_summary(trials, plan), indent=2), encoding="utf-8")
    objective = plan.tuning.objective
    names = [*plan.tuning.ranges, *plan.tuning.choices]
    plots = {
        "rate_and_momentum": rate_and_momentum(trials, objective=objective),
        "parallel_coordinates": parallel_coordinates(trials, names=names, objective=objective),
        "best_so_far": best_so_far(trials, objective=objective),
    }
    for name, svg in plots.items():
        (folder / f"{name}.svg").write_text(svg, encoding="utf-8")
    write_hparams(trials, names=names, objective=objective, folder=folder / "tensorboard")


def _summary(trials: pd.DataFrame, plan: SearchPlan) -> dict[str, Any]:
    objective = plan.tuning.objective
    best = best_trial(trials, objective=objective)
    paper = float(trials[objective].iloc[0])
    return {
        "candidate": plan.candidate.name,
        "method": plan.tuning.method,
        "objective": objective,
        "values": chosen_values(best, plan),
        "trial": int(best["trial"]),
        "score": float(best[objective]),
        "paper_score": None if math.isnan(paper) else paper,
        "trials": len(trials),
        "failed": int((trials["state"] != COMPLETED).sum()),
    }
