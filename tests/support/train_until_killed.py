"""Runs Trainer's `run_fn` on the fixtures' small backbone, and kills it in the middle of given epochs.

A separate process, because TensorFlow cannot be forked after its first operation.
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

from training_fixtures import TINY

from knet.models.backbones import BACKBONES
from knet.models.callbacks import TrainingProgress
from knet.training.trainer import run_fn

os.environ["TF_USE_LEGACY_KERAS"] = "0"


def main(arguments: Path, epochs: list[int]) -> None:
    """Train and be killed once for each epoch; print the signal and the number of checkpoints as JSON.

    Args:
        arguments: JSON file of `run_fn`'s arguments.
        epochs: numbers from 0; the process dies before the last batch of the epoch.
    """
    fn_args = SimpleNamespace(**json.loads(arguments.read_text("utf-8")))
    for epoch in epochs:
        child = os.fork()
        if child == 0:
            _train(fn_args, epoch)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        checkpoints = list(Path(fn_args.custom_config["checkpoints"], "mobilenet").iterdir())
        print(json.dumps([os.WTERMSIG(status), len(checkpoints)]), flush=True)


def _train(fn_args: SimpleNamespace, epoch: int) -> None:
    def die(self: Any, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._epoch == epoch + 1 and batch == self.params["steps"] - 2:
            os.kill(os.getpid(), signal.SIGKILL)

    with (
        mock.patch.dict(BACKBONES, mobilenet=TINY),
        mock.patch.object(TrainingProgress, "on_train_batch_end", die),
    ):
        run_fn(fn_args)


if __name__ == "__main__":
    main(Path(sys.argv[1]), list(map(int, sys.argv[2:])))
