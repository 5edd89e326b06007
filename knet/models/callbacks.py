"""Notes what each epoch came to, and draws the curves for TensorBoard."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from knet.base.progress import PROGRESS


class TrainingHistory(keras.callbacks.Callback):
    """A row for each epoch, beside its curves.

    Attributes:
        epochs: the rows, which may be given before training begins: `epoch` from 1, `seconds` of all of it,
            `images_per_second` of its training alone, the `learning_rate` that it began with, and what Keras
            logs.
    """

    def __init__(self, folder: Path, *, images: int) -> None:
        """Takes the folder of the logs, and how many images an epoch has."""
        super().__init__()
        self.epochs: list[dict[str, float]] = []
        self._images = images
        self._writers = {
            part: tf.summary.create_file_writer(str(folder / part)) for part in ("train", "validation")
        }
        self._began = self._trained = 0.0
        self._learning_rate = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Draws the epochs before."""
        for row in self.epochs:
            self._draw(row)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock."""
        self._began = time.monotonic()
        self._learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes when it was: after the last, validation begins."""
        self._trained = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds a row."""
        row = {
            "epoch": epoch + 1,
            "seconds": time.monotonic() - self._began,
            "images_per_second": self._images / (self._trained - self._began),
            "learning_rate": self._learning_rate,
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        self.epochs.append(row)
        self._draw(row)

    def draw_confusion(self, confusion: Sequence[Sequence[int]], classes: tuple[str, str]) -> None:
        """Adds the final model's confusion matrix on validation; rows are true classes."""
        lines = ["| | " + " | ".join(f"called {name}" for name in classes) + " |", "|---|---|---|"]
        lines += [f"| {name} | {row[0]} | {row[1]} |" for name, row in zip(classes, confusion, strict=True)]
        with self._writers["validation"].as_default():
            tf.summary.text("confusion", "\n".join(lines), step=len(self.epochs))
            for name, row in zip(classes, confusion, strict=True):
                for called, count in zip(classes, row, strict=True):
                    tf.summary.scalar(f"confusion/{name} called {called}", count, step=len(self.epochs))
        for writer in self._writers.values():
            writer.close()

    def _draw(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            part = "validation" if name.startswith("val_") else "train"
            if name != "epoch":
                with self._writers[part].as_default():
                    tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value, step=int(row["epoch"]))
        for writer in self._writers.values():
            writer.flush()


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


class FiniteLoss(keras.callbacks.Callback):
    """Raises an error at the first batch whose loss is not finite, or else after the epoch's validation."""

    def __init__(self, refusal: Callable[[int, int | None], Exception]) -> None:
        """Takes what makes the error of an epoch and a batch, from 0; of None where it is validation's."""
        super().__init__()
        self._refusal = refusal
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers where we are."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the mean over the batches so far, which one that is not finite makes so too."""
        if not math.isfinite((logs or {})["loss"]):
            raise self._refusal(self._epoch, batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at validation's."""
        if not math.isfinite((logs or {})["val_loss"]):
            raise self._refusal(epoch, None)
