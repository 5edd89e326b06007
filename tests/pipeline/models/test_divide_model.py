"""The two parts of a hybrid model, one after the other, are the model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from pipeline.models.divide_model import divide_model
from pipeline.models.hybrid_model import build_hybrid_model

PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("float32")


def hybrid(tiny: str, normalisation: str = "backbone") -> Any:
    return build_hybrid_model(
        tiny,
        size=32,
        weights=None,
        alpha=None,
        normalisation=normalisation,
        pixel_mean=[120.0] * 3,
        pixel_std=[60.0] * 3,
        batch_norm_momentum=0.9,
        variant="parallel",
        sequence_length=4,
        lstm_units=3,
        dense_units=4,
        dropout=0.0,
        synchronized=False,
    )


@pytest.mark.parametrize("normalisation", ["image", "backbone", "dataset"])
@pytest.mark.parametrize("upper_blocks", [0, 1])
def test_the_parts_compose_to_the_whole(tiny: str, normalisation: str, upper_blocks: int) -> None:
    model = hybrid(tiny, normalisation)
    frozen, learning = divide_model(model, tiny, upper_blocks=upper_blocks)
    np.testing.assert_allclose(learning(frozen(PIXELS)), model(PIXELS), atol=1e-6)


def test_what_the_upper_part_learns_the_model_has_learnt(tiny: str) -> None:
    model = hybrid(tiny)
    frozen, learning = divide_model(model, tiny, upper_blocks=1)
    before, maps = np.asarray(model(PIXELS)), frozen(PIXELS)
    learning.compile(keras.optimizers.SGD(0.5), loss="sparse_categorical_crossentropy")
    learning.fit(maps, np.array([0, 1, 1]), epochs=3, verbose=0)
    np.testing.assert_allclose(model(PIXELS), learning(maps), atol=1e-6)
    assert np.abs(np.asarray(model(PIXELS)) - before).max() > 0.01
    np.testing.assert_array_equal(frozen(PIXELS), maps)
