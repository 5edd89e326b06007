"""All that a search depends on, as the processes that take part in it read it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from pipeline.candidate import Candidate
from pipeline.config import TuningConfig
from pipeline.write_whole import write_whole

Evaluation = Callable[[dict[str, Any], int], float]  # of values and epochs, to the objective
PLAN = "plan.json"  # the file in the folder of a search


class TrialError(Exception):
    """What an evaluation raises where the values are to blame; the search goes on."""


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
        write_whole(folder / PLAN, self.model_dump_json())

    @classmethod
    def read(cls, folder: Path) -> SearchPlan:
        """Reads it from the folder of a search."""
        return cls.model_validate_json((folder / PLAN).read_text(encoding="utf-8"))
