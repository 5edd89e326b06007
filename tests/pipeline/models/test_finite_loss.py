"""A loss that is not finite ends training where it came up."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from pipeline.models.finite_loss import FiniteLoss


def fit(bad: int | None, *, bad_validation: bool = False) -> None:
    """Two epochs of three batches, of which `bad` (from 0) has no finite loss in the second."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)

    def batches(epochs: int) -> object:
        for epoch in range(epochs):
            for batch in range(3):
                value = float("nan") if epoch == 1 and batch == bad else 1.0
                yield np.full((2, 1), value, "float32"), np.ones((2, 1), "float32")

    target = float("inf") if bad_validation else 1.0
    model.fit(
        batches(2),
        steps_per_epoch=3,
        epochs=2,
        verbose=0,
        validation_data=(np.ones((2, 1)), np.full((2, 1), target)),
        callbacks=[FiniteLoss(lambda epoch, batch: ArithmeticError(f"{epoch} {batch}"))],
    )


def test_epoch_and_batch_are_told() -> None:
    with pytest.raises(ArithmeticError, match="1 2"):
        fit(2)


def test_validation_counts() -> None:
    with pytest.raises(ArithmeticError, match="0 None"):
        fit(None, bad_validation=True)


def test_a_finite_loss_passes() -> None:
    fit(None)
