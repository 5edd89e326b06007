"""Where a search looks, and where it begins."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import keras_tuner
import numpy as np

from pipeline.candidate import Candidate
from pipeline.config import TrainingConfig, TuningConfig

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
