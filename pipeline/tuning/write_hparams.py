"""Writes trials for TensorBoard's HParams page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import tensorflow as tf
from tensorboard.plugins.hparams import api

from pipeline.tuning.trials_table import COMPLETED


def write_hparams(trials: pd.DataFrame, *, names: Sequence[str], objective: str, folder: Path) -> None:
    """A folder of logs for each completed trial.

    Args:
        trials: as `trials_table` makes them.
        names: of the hyperparameters.
        objective: its name.
        folder: where.
    """
    with tf.summary.create_file_writer(str(folder)).as_default():
        api.hparams_config([api.HParam(name) for name in names], [api.Metric(objective)])
    for row in trials[trials["state"] == COMPLETED].to_dict("records"):
        name = f"trial-{row['trial']:04}"
        with tf.summary.create_file_writer(str(folder / name)).as_default():
            api.hparams({name: row[name] for name in names}, trial_id=name)
            tf.summary.scalar(objective, row[objective], step=0)
