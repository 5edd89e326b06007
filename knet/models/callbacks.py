"""Keras callbacks of training: history with TensorBoard curves, progress log, check for finite losses."""

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
    """History of a training: a row per epoch, also written as TensorBoard curves.

    Attributes:
        epochs: the rows; those of an earlier process may be assigned before training starts. Each has
            `epoch` (from 1), `seconds` (training and validation), `images_per_second` (training alone),
            `learning_rate` (at its start) and the metrics that Keras logs.
    """

    def __init__(self, folder: Path, *, images: int) -> None:
        """Create the TensorBoard writers.

        Args:
            folder: log folder.
            images: training images of an epoch, views counted.
        """
        super().__init__()
        self.epochs: list[dict[str, float]] = []
        self._images = images
        self._writers = {
            part: tf.summary.create_file_writer(str(folder / part)) for part in ("train", "validation")
        }
        self._start = self._trained = 0.0
        self._learning_rate = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Write the curves of the epochs of an earlier process."""
        for row in self.epochs:
            self._write_curves(row)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record start time and learning rate."""
        self._start = time.monotonic()
        self._learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the time; after the last batch validation starts."""
        self._trained = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Append the epoch's row and write its curves."""
        row = {
            "epoch": epoch + 1,
            "seconds": time.monotonic() - self._start,
            "images_per_second": self._images / (self._trained - self._start),
            "learning_rate": self._learning_rate,
            **{name: float(value) for name, value in (logs or {}).items()},
        }
        self.epochs.append(row)
        self._write_curves(row)

    def write_confusion(self, confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> None:
        """Write the final model's confusion matrix and close the writers.

        Args:
            confusion: validation images by true class (rows) and predicted class (columns).
            classes: names in the order of the labels.
        """
        lines = [
            "| | " + " | ".join(f"predicted {name}" for name in classes) + " |",
            "|---" * (len(classes) + 1) + "|",
        ]
        lines += [
            " | ".join([f"| {name}", *map(str, row)]) + " |"
            for name, row in zip(classes, confusion, strict=True)
        ]
        with self._writers["validation"].as_default():
            tf.summary.text("confusion", "\n".join(lines), step=len(self.epochs))
            for name, row in zip(classes, confusion, strict=True):
                for predicted, count in zip(classes, row, strict=True):
                    tag = f"confusion/{name} predicted {predicted}"
                    tf.summary.scalar(tag, count, step=len(self.epochs))
        for writer in self._writers.values():
            writer.close()

    def _write_curves(self, row: dict[str, float]) -> None:
        for name, value in row.items():
            part = "validation" if name.startswith("val_") else "train"
            if name != "epoch":
                with self._writers[part].as_default():
                    tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", value, step=int(row["epoch"]))
        for writer in self._writers.values():
            writer.flush()


class TrainingProgress(keras.callbacks.Callback):
    """Progress log: one line after each epoch, and at most one per second within an epoch."""

    def __init__(self, prefix: str = "", *, level: int = logging.INFO) -> None:
        """Create the callback.

        Args:
            prefix: start of every line.
            level: logging level of the line after an epoch; the others are DEBUG.
        """
        super().__init__()
        self._prefix = prefix
        self._level = level
        self._epoch = 0
        self._last = 0.0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch's number."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the batch, at most once per second."""
        if time.monotonic() - self._last >= 1:
            self._log(logging.DEBUG, f"batch {batch + 1}", logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the epoch."""
        self._log(self._level, "done", logs)

    def _log(self, level: int, where: str, logs: dict[str, Any] | None) -> None:
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
    """Stop with an error at the first training or validation loss that is not finite."""

    def __init__(self, make_error: Callable[[int, int | None], Exception]) -> None:
        """Create the callback.

        Args:
            make_error: returns the error to raise, given epoch and batch, both from 0; the batch is None for
                the validation loss.
        """
        super().__init__()
        self._make_error = make_error
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the epoch's number."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the mean loss of the epoch's batches so far, which one batch makes not finite.

        Raises:
            Exception: from `make_error`.
        """
        if not math.isfinite((logs or {})["loss"]):
            raise self._make_error(self._epoch, batch)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Check the validation loss.

        Raises:
            Exception: from `make_error`.
        """
        if not math.isfinite((logs or {})["val_loss"]):
            raise self._make_error(epoch, None)
