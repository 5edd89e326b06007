"""Progress of an experiment names the step and estimates the time that is left."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from pipeline.experiments import progress
from pipeline.experiments.progress import with_progress


def test_with_progress_estimates_from_steps_that_were_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    shown = io.StringIO()
    trainings: list[dict[str, Any]] = []
    for fold in with_progress(range(4), trainings, Console(file=shown), title="fold {}".format):
        now += 1 if fold == 0 else 60
        trainings.append({"cached": fold == 0})
    lines = shown.getvalue().splitlines()
    assert lines[:2] == ["1 of 4: fold 0", "2 of 4: fold 1"]
    assert lines[2] == "3 of 4: fold 2, about 2 min 0 s left"
