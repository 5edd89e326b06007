"""Says how training stands, through the progress logger."""

from __future__ import annotations

import logging
import time
from typing import Any

import keras

from pipeline.progress import PROGRESS


class TrainingProgress(keras.callbacks.Callback):
    """A line after each epoch, and at most one a second within an epoch."""

    def __init__(self) -> None:
        super().__init__()
        self._epoch = 0
        self._last = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers where we are."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """At most a line a second."""
        if time.monotonic() - self._last >= 1:
            self._say(logging.DEBUG, f"batch {batch + 1}", logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Always a line."""
        self._say(logging.INFO, "done", logs)

    def _say(self, level: int, where: str, logs: dict[str, Any] | None) -> None:
        self._last = time.monotonic()
        values = ", ".join(f"{name} {float(value):.4g}" for name, value in (logs or {}).items())
        logging.getLogger(PROGRESS).log(
            level, "epoch %d of %d, %s: %s", self._epoch, self.params["epochs"], where, values
        )
