"""Checkpoint of a training, from which a killed one resumes to the same result."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from knet.base.errors import UserError
from knet.base.files import atomic_write, remove_abandoned
from knet.models.callbacks import EarlyStopping, TrainingHistory

_STOPPING = ("wait", "stopped_epoch", "stopped_after", "best_epoch", "best")


class Checkpoint(keras.callbacks.Callback):
    """Save model, optimizer, early stopping and history after each epoch; restore them when training starts.

    Keras's BackupAndRestore does not save the counters of EarlyStopping. The order of the images must depend
    on seed and epoch alone.

    Example:
        checkpoint = Checkpoint(file, stopping=stopping, history=history)
        model.fit(..., initial_epoch=checkpoint.first_epoch, callbacks=[stopping, history, checkpoint])
        checkpoint.remove()
    """

    def __init__(self, file: Path, *, stopping: EarlyStopping, history: TrainingHistory) -> None:
        """Read the file if it exists, and restore the history.

        Args:
            file: the checkpoint, .npz.
            stopping: early stopping; must precede this callback in the list of callbacks.
            history: must precede it too.

        Raises:
            UserError: the file is damaged.
        """
        super().__init__()
        self._file = file
        self._stopping = stopping
        self._history = history
        self._saved = _read(file)
        self.first_epoch: int = 0  # to train; the number of epochs if training had ended
        if self._saved:
            self.first_epoch = self._saved["progress"]["next_epoch"]
            history.epochs = self._saved["progress"]["history"]

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore weights, optimizer and early stopping."""
        if not self._saved:
            return
        _assign(_variables(self.model), self._saved["model"])
        _assign(self.model.optimizer.variables, self._saved["optimizer"])
        for name in _STOPPING:
            setattr(self._stopping, name, self._saved["progress"]["stopping"][name])
        self._stopping.best_weights = self._saved["best"] or None
        self._saved = {}  # free the memory, as large as the model

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Replace the file."""
        stopping = {name: getattr(self._stopping, name) for name in _STOPPING}
        progress = {
            "next_epoch": self.params["epochs"] if self.model.stop_training else epoch + 1,
            "stopping": {name: None if value is None else float(value) for name, value in stopping.items()},
            "history": self._history.epochs,
        }
        arrays = {
            "model": [keras.ops.convert_to_numpy(variable) for variable in _variables(self.model)],
            "optimizer": [keras.ops.convert_to_numpy(one) for one in self.model.optimizer.variables],
            "best": self._stopping.best_weights or [],
        }
        _write(self._file, progress, arrays)

    def remove(self) -> None:
        """Delete the file; for use after the model is exported."""
        self._file.unlink(missing_ok=True)


def _variables(model: keras.Model) -> list[Any]:
    """Return all variables but the metrics'; unlike `get_weights` with the seeds of dropout."""
    metrics = {id(variable) for variable in model.metrics_variables}
    return [variable for variable in model.variables if id(variable) not in metrics]


def _assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _write(file: Path, progress: dict[str, Any], arrays: dict[str, list[np.ndarray]]) -> None:
    """Write the file atomically."""
    named: dict[str, Any] = {
        f"{kind}/{n:05}": array for kind, many in arrays.items() for n, array in enumerate(many)
    }

    def save(path: Path) -> None:
        with path.open("wb") as stream:  # savez would add .npz to a path
            np.savez(stream, progress=np.array(json.dumps(progress)), **named)

    remove_abandoned(file.parent)
    atomic_write(file, save)


def _read(file: Path) -> dict[str, Any]:
    """Return `progress` and the lists of arrays by kind; empty if there is no file."""
    if not file.is_file():
        return {}
    try:
        with file.open("rb") as stream, np.load(stream) as stored:
            kinds: dict[str, Any] = {
                kind: [stored[name] for name in sorted(stored.files) if name.startswith(f"{kind}/")]
                for kind in ("model", "optimizer", "best")
            }
            return {**kinds, "progress": json.loads(str(stored["progress"]))}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"the checkpoint {file} is damaged ({error}); delete it, and training starts again"
        ) from None
