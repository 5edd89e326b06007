"""Says how training stands, through the progress logger."""

from __future__ import annotations

import logging
import time
from typing import Any

import keras

from pipeline.progress import PROGRESS


class TrainingProgress(keras.callbacks.Callback):
    """A line after each epoch, and at most one a second within an epoch."""

    def __init__(self, prefix: str = "", *, level: int = logging.INFO) -> None:
        """Takes what each line begins with, and the level of an epoch's last one."""
        super().__init__()
        self._prefix = prefix
        self._level = level
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
        self._say(self._level, "done", logs)

    def _say(self, level: int, where: str, logs: dict[str, Any] | None) -> None:
        self._last = time.monotonic()
        values = ", ".join(f"{name} {float(value):.4g}" for name, value in (logs or {}).items())
        logging.getLogger(PROGRESS).log(
            level,
            "%sepoch %d of %d, %s: %s",
            self._prefix,
            self._epoch,
            self.params["epochs"],
            where,
            values,
        )
