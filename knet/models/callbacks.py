"""Keras callbacks of training: early stopping, snapshots, history, progress log, check for finite losses."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from knet.base.artifact_files import snapshot_file
from knet.base.progress import PROGRESS


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Early stopping after which training may continue, for snapshots; the best weights stay those found.

    Attributes:
        stopped_after: epochs trained when patience ran out; None while it has not.
    """

    def __init__(self, *, train_until: int = 0, **stopping: Any) -> None:
        """Create the callback.

        Args:
            train_until: epochs to train even if patience runs out before.
            **stopping: arguments of `keras.callbacks.EarlyStopping`.
        """
        super().__init__(**stopping)
        self.stopped_after: int | None = None
        self._train_until = train_until

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Reset the state."""
        super().on_train_begin(logs)
        self.stopped_after = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the best weights until patience runs out; stop training then, or after `train_until`."""
        if self.stopped_after is None:
            others = self.model.stop_training  # set by another callback
            self.model.stop_training = False
            super().on_epoch_end(epoch, logs)
            if self.model.stop_training:
                self.stopped_after = epoch + 1
            self.model.stop_training = others
        if self.stopped_after is not None and epoch + 1 >= self._train_until:
            self.model.stop_training = True


class Snapshots(keras.callbacks.Callback):
    """Weights of a model after given epochs, as `epoch-<number>.weights.h5` files.

    It must precede the callback that saves the checkpoint, so that a resumed training has all of them.
    """

    def __init__(self, model: keras.Model, epochs: Collection[int], *, folder: Path) -> None:
        """Create the callback.

        Args:
            model: whose weights are saved; may hold the trained model as a part.
            epochs: numbers of epochs, from 1.
            folder: folder of the files; it is created with the first.
        """
        super().__init__()
        self._whole = keras.Model(
            model.inputs, model.outputs
        )  # without an optimizer, whose state is as large
        self._epochs = epochs
        self._folder = folder

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Save the weights if the epoch is one of those given."""
        if epoch + 1 in self._epochs:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._whole.save_weights(self._folder / snapshot_file(epoch + 1), overwrite=True)

    def copy_to(self, folder: Path) -> None:
        """Copy the files to a folder."""
        for epoch in self._epochs:
            shutil.copyfile(self._folder / snapshot_file(epoch), folder / snapshot_file(epoch))

    def remove(self) -> None:
        """Delete the files."""
        shutil.rmtree(self._folder, ignore_errors=True)


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
