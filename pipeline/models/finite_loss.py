"""Ends a training whose loss became infinite or undefined."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras


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
