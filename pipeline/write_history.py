"""Writes what a training came to as a small JSON file."""

from __future__ import annotations

import json
import resource
from collections.abc import Sequence
from pathlib import Path

from pipeline.devices import Devices
from pipeline.models.training_history import TrainingHistory


def write_history(
    file: Path,
    history: TrainingHistory,
    *,
    confusion: Sequence[Sequence[int]],
    classes: tuple[str, str],
    best_epoch: int,
    resumed_after: int,
    devices: Devices,
) -> None:
    """Writes the history of a training, and draws the confusion matrix beside its curves.

    Args:
        file: where; it holds `epochs`, the rows of the history, and `confusion`, in which rows are true
            classes. `peak_memory_bytes` is of this process since it began, other nodes' work included.
        history: of the training.
        confusion: of the exported model on validation images.
        classes: the names of both.
        best_epoch: whose weights the final model has, from 1.
        resumed_after: epochs that an earlier process trained, 0 where there was none.
        devices: that it was trained on.
    """
    history.draw_confusion(confusion, classes)
    tree = {
        "device": devices.description,
        "precision": devices.precision,
        # Linux counts KiB.
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "best_epoch": best_epoch,
        "resumed_after": resumed_after,
        "classes": classes,
        "confusion": confusion,
        "epochs": history.epochs,
    }
    file.write_text(json.dumps(tree, indent=2), encoding="utf-8")
