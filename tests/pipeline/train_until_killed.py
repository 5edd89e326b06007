"""Runs Trainer's `run_fn`, and kills its own process in the middle of a given epoch.

A program of its own, because nothing of a killed process may be left.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["TF_USE_LEGACY_KERAS"] = "0"

from pipeline.models.training_progress import TrainingProgress
from pipeline.training import run_fn


class _Killer(TrainingProgress):
    epoch = -1  # from 0; of the last batch but one

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._epoch == _Killer.epoch + 1 and batch == self.params["steps"] - 2:
            os.kill(os.getpid(), signal.SIGKILL)


def main(arguments: Path, epoch: int) -> None:
    """Trains on arguments that are stored as JSON."""
    import pipeline.training

    _Killer.epoch = epoch
    pipeline.training.TrainingProgress = _Killer
    run_fn(SimpleNamespace(**json.loads(arguments.read_text("utf-8"))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
