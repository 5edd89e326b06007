"""Objectives that need no images, for processes that tests start."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

from knet.tuning.plan import Evaluation, SearchPlan, TrialError


def distance(plan: SearchPlan) -> Evaluation:
    """The distance from `best`; notes in a file who was asked, and may fail or end at one of its lines."""
    best = plan.arguments.get("best", {"learning_rate": 0.02, "momentum": 0.7})
    notes = plan.arguments.get("notes")

    me = os.environ.get("KERASTUNER_TUNER_ID", "alone")

    def evaluate(values: dict[str, Any], epochs: int) -> float:
        if notes:
            with Path(notes).open("a", encoding="utf-8") as file:
                file.write(f"{me} {epochs}\n")
        time.sleep(plan.arguments.get("seconds", 0))
        said = Path(notes).read_text("utf-8").splitlines() if notes else []
        mine = [line for line in said if line.startswith(me)]
        if plan.arguments.get("kill") == me and len(mine) == 2:
            os.kill(os.getpid(), 9)
        lines = len(said)
        if lines == plan.arguments.get("interrupt_at"):
            raise KeyboardInterrupt
        if lines in plan.arguments.get("fail_at", []):
            raise TrialError("the loss is not finite in epoch 1")
        rate = math.log10(values["learning_rate"] / best["learning_rate"])
        return rate**2 + (values["momentum"] - best["momentum"]) ** 2

    return evaluate
