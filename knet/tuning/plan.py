"""All that a search depends on, as the processes that take part in it read it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict

from knet.base.files import atomic_write
from knet.training.candidate import Candidate
from knet.tuning.settings import TuningConfig

Evaluation = Callable[[dict[str, Any], int], float]  # of values and epochs, to the objective
PLAN = "plan.json"  # the file in the folder of a search


class TrialError(Exception):
    """An evaluation failed because of its hyperparameters; the search continues."""


class SearchPlan(BaseModel):
    """What is searched, and what judges a trial."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidate: Candidate
    tuning: TuningConfig
    warm: tuple[dict[str, Any], ...] = ()  # values of an earlier search, to be tried first
    evaluation: str  # module:function that takes `arguments` and gives an `Evaluation`
    arguments: dict[str, Any] = {}

    def make_evaluation(self) -> Evaluation:
        """Prepares what judges the trials."""
        module, _, function = self.evaluation.partition(":")
        return getattr(importlib.import_module(module), function)(self)

    def write(self, folder: Path) -> None:
        """Writes it into the folder of the search, whole or not at all."""
        atomic_write(folder / PLAN, self.model_dump_json())

    @classmethod
    def read(cls, folder: Path) -> SearchPlan:
        """Reads it from the folder of a search."""
        return cls.model_validate_json((folder / PLAN).read_text(encoding="utf-8"))


DIRECTIONS: Final = {"val_loss": "min", "balanced_accuracy": "max"}
_LEAST = 1e-7  # probability, as Keras has it


def score(probabilities: np.ndarray, labels: np.ndarray, *, objective: str) -> float:
    """The objective on the images that a fold holds out.

    Args:
        probabilities: of both classes [images, 2].
        labels: [images], both classes among them.
        objective: `val_loss`, the mean of -log p(label), or `balanced_accuracy`, the mean of both classes'
            recalls where the larger probability decides.
    """
    if objective == "val_loss":
        own = np.asarray(probabilities, "float64")[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(own, _LEAST)).mean())
    right = probabilities.argmax(axis=1) == labels
    return float(np.mean([right[labels == label].mean() for label in (0, 1)]))
