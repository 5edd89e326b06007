"""Notes what each epoch came to, and draws the curves for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf


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
