"""Fine-tunes a backbone block by block, from the head downwards."""

from __future__ import annotations

import logging
from typing import Any

import keras

from pipeline.models.backbones import Block, blocks_of
from pipeline.models.hybrid_model import BODY
from pipeline.models.release_blocks import release_blocks
from pipeline.progress import PROGRESS


class StagedFineTuning(keras.callbacks.EarlyStopping):
    """Trains the head alone in the first stage, and releases one block more in each of the others.

    It is the early stopping too, which may not stop before the last stage: its patience begins there. The
    best weights are those of all stages.
    """

    def __init__(self, backbone: str, *, stage_epochs: int, **stopping: Any) -> None:
        """Names the backbone and the epochs of a stage; the rest is of `keras.callbacks.EarlyStopping`."""
        super().__init__(**stopping)
        self._backbone = backbone
        self._stage_epochs = stage_epochs
        self._released: int | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Says so where there are too few epochs for all stages."""
        super().on_train_begin(logs)
        self._released = None
        if self.params["epochs"] <= self._last_stage:
            logging.getLogger(PROGRESS).warning(
                "%d epochs do not reach all %d stages of %s, which take %d",
                self.params["epochs"],
                len(self._blocks) + 1,
                self._backbone,
                self._last_stage + 1,
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Releases what this epoch's stage adds; the training step is traced anew then."""
        count = min(epoch // self._stage_epochs, len(self._blocks))
        if count != self._released:
            release_blocks(self._blocks, count)
            self.model.make_train_function(force=True)
            self._released = count

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Notes the best weights, and stops where patience is at an end in the last stage."""
        stopped = self.model.stop_training  # for a reason of another callback
        super().on_epoch_end(epoch, logs)
        if epoch < self._last_stage:
            self.wait = 0
            self.model.stop_training = stopped

    @property
    def _blocks(self) -> tuple[Block, ...]:
        return blocks_of(self._backbone, self.model.get_layer(BODY))

    @property
    def _last_stage(self) -> int:
        """The epoch in which it begins, from 0."""
        return len(self._blocks) * self._stage_epochs
