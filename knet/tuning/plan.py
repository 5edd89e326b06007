"""Plan of a hyperparameter search, which its processes share, and the objective of its trials."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.training.candidate import Candidate
from knet.tuning.settings import TuningConfig

Values = dict[str, Any]  # hyperparameters by name
Evaluation = Callable[[Values, int], float]  # (hyperparameters, maximum epochs) to objective
PLAN = "plan.json"  # in the folder of a search


class TrialError(Exception):
    """An evaluation failed because of its hyperparameters; the search continues."""


class SearchPlan(BaseModel):
    """Inputs of a search, as JSON for the processes that run it.

    Attributes:
        candidate: The model to search on.
        tuning: Settings of the search.
        warm_start: Hyperparameters of an earlier search, to try first.
        evaluation: `module:name` of a function that accepts this plan and returns an `Evaluation`.
        arguments: JSON values for that function.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    candidate: Candidate
    tuning: TuningConfig
    warm_start: tuple[Values, ...] = ()
    evaluation: str
    arguments: dict[str, Any] = {}

    def make_evaluation(self) -> Evaluation:
        """Import and call the function that `evaluation` names."""
        module, _, function = self.evaluation.partition(":")
        return getattr(importlib.import_module(module), function)(self)

    def write(self, folder: Path) -> None:
        """Write the plan atomically into the folder of the search."""
        atomic_write(folder / PLAN, self.model_dump_json())

    @classmethod
    def read(cls, folder: Path) -> SearchPlan:
        """Read the plan from the folder of a search.

        Raises:
            UserError: Another version of the pipeline wrote it.
        """
        file = folder / PLAN
        try:
            return cls.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise UserError(
                f"{file}: not a plan of this version of the pipeline; delete the folder and run the pipeline "
                "again"
            ) from error


DIRECTIONS: Final = {"val_loss": "min", "balanced_accuracy": "max"}
_EPSILON = 1e-7  # lower bound of a probability in the loss, as in Keras


def score(probabilities: np.ndarray, labels: np.ndarray, *, objective: str) -> float:
    """Return the objective on the images that a fold holds out.

    Args:
        probabilities: Float [images, classes].
        labels: Class indices, int [images].
        objective: `val_loss`, the mean of -log p(label), or `balanced_accuracy`, the mean recall of the
            classes that have images, where the likeliest class is predicted.
    """
    if objective == "val_loss":
        own = np.asarray(probabilities, "float64")[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(own, _EPSILON)).mean())
    right = probabilities.argmax(axis=1) == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))
