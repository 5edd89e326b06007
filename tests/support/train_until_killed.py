"""Runs Trainer's `run_fn`, and kills its own process in the middle of a given epoch.

A separate process, because it is killed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from knet.models.callbacks import TrainingProgress
from knet.training.trainer import run_fn

os.environ["TF_USE_LEGACY_KERAS"] = "0"


def main(arguments: Path, epoch: int) -> None:
    """Trains on arguments stored as JSON, until the last batch but one of an epoch, which counts from 0."""

    def die(self: Any, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._epoch == epoch + 1 and batch == self.params["steps"] - 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with mock.patch.object(TrainingProgress, "on_train_batch_end", die):
        run_fn(SimpleNamespace(**json.loads(arguments.read_text("utf-8"))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
