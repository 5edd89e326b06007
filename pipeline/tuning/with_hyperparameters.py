"""Puts hyperparameters into a candidate's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.candidate import Candidate

_OF_HEAD = ("lstm_units", "dense_units", "dropout")


def with_hyperparameters(candidate: Candidate, values: Mapping[str, Any]) -> Candidate:
    """The candidate with these values, named as in `tuning`, instead of its own."""
    head = {name: value for name, value in values.items() if name in _OF_HEAD}
    training = {name: value for name, value in values.items() if name not in _OF_HEAD}
    return candidate.model_copy(
        update={
            "head": candidate.head.model_copy(update=head),
            "training": candidate.training.model_copy(update=training),
        }
    )
