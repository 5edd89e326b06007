"""Output files of a search: best hyperparameters, trials, summary, plots and logs for TensorBoard."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tensorflow as tf
from tensorboard.plugins.hparams import api

from knet.base import artifact_files
from knet.tuning.oracles import search_space
from knet.tuning.plan import SearchPlan
from knet.tuning.plots import lr_momentum_scatter, optimization_history, parallel_coordinates
from knet.tuning.trials import COMPLETED, best_trial, trial_hyperparameters

_BEST_FILE = "best_hyperparameters.txt"  # the name that TFX's Tuner uses; the folder must hold nothing else


def write_best_hyperparameters(trials: pd.DataFrame, plan: SearchPlan, folder: Path) -> None:
    """Write the hyperparameters of the best trial as JSON of KerasTuner's HyperParameters.

    Args:
        trials: As returned by `trials_table`, with at least one completed trial.
        plan: The search.
        folder: Output folder.
    """
    space = search_space(plan.tuning, plan.candidate)
    space.values = trial_hyperparameters(best_trial(trials, objective=plan.tuning.objective), plan)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _BEST_FILE).write_text(json.dumps(space.get_config()), encoding="utf-8")


def write_trials(trials: pd.DataFrame, plan: SearchPlan, folder: Path) -> None:
    """Write the table as CSV, a summary as JSON, plots as SVG, and HParams for TensorBoard.

    Args:
        trials: As returned by `trials_table`, with at least one completed trial.
        plan: The search.
        folder: Output folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    trials.to_csv(folder / artifact_files.TRIALS, index=False)
    (folder / artifact_files.SEARCH_SUMMARY).write_text(
        json.dumps(_summary(trials, plan), indent=2), encoding="utf-8"
    )
    objective = plan.tuning.objective
    names = [*plan.tuning.ranges, *plan.tuning.choices]
    plots = {
        "parallel_coordinates": parallel_coordinates(trials, names=names, objective=objective),
        "optimization_history": optimization_history(trials, objective=objective),
    }
    if "momentum" in names:
        plots["lr_momentum_scatter"] = lr_momentum_scatter(trials, objective=objective)
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
        "values": trial_hyperparameters(best, plan),
        "trial": int(best["trial"]),
        "score": float(best[objective]),
        "paper_score": None if math.isnan(paper) else paper,
        "trials": len(trials),
        "failed": int((trials["state"] != COMPLETED).sum()),
    }


def write_hparams(trials: pd.DataFrame, *, names: Sequence[str], objective: str, folder: Path) -> None:
    """Write a folder of TensorBoard logs for each completed trial.

    Args:
        trials: As returned by `trials_table`.
        names: Columns of the hyperparameters.
        objective: Column of the objective.
        folder: Output folder.
    """
    with tf.summary.create_file_writer(str(folder)).as_default():
        api.hparams_config([api.HParam(name) for name in names], [api.Metric(objective)])
    for row in trials[trials["state"] == COMPLETED].to_dict("records"):
        name = f"trial-{row['trial']:04}"
        with tf.summary.create_file_writer(str(folder / name)).as_default():
            api.hparams({name: row[name] for name in names}, trial_id=name)
            tf.summary.scalar(objective, row[objective], step=0)
