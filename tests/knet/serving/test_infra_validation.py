"""Served predictions against those of the Keras model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest

from knet.serving.infra_validation import check_predictions, keras_predictions


def test_check_predictions_accepts_equal_probabilities() -> None:
    check_predictions([[0.25, 0.75]], [[0.25, 0.75 + 1e-7]])


@pytest.mark.parametrize(
    ("served", "expected", "message"),
    [
        ([[0.25, 0.7]], [[0.25, 0.7]], "test image 0.*do not sum to one"),
        ([[0.5, 0.5], [0.25, 0.75]], [[0.5, 0.5], [0.75, 0.25]], "test image 1.*the Keras model gives"),
        ([[float("nan")] * 2], [[float("nan")] * 2], "do not sum to one"),
    ],
)
def test_check_predictions_refuses_other_probabilities(
    served: list[list[float]], expected: list[list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        check_predictions(served, expected)


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_keras_predictions_are_calibrated(
    tmp_path: Path, picture: Callable[..., bytes], temperature: float
) -> None:
    pixels = keras.Input((8, 8, 3))
    mean = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(pixels))
    dense = keras.layers.Dense(2)
    model = keras.Model(pixels, keras.layers.Softmax()(dense(mean)))
    dense.set_weights([np.array([[1.0, -2.0], [0.0, 3.0], [1.0, 1.0]]), np.array([0.5, 0.0])])
    model.save(tmp_path / "model.keras")
    images = [picture(colour=(255, 0, 0)), picture(colour=(0, 255, 255))]
    predictions = np.array(
        keras_predictions(tmp_path / "model.keras", images, size=8, temperature=temperature)
    )
    for row, expected in zip(predictions, ([1.5, -2.0], [1.5, 4.0]), strict=True):
        powers = np.exp(np.array(expected) / temperature)
        np.testing.assert_allclose(row, powers / powers.sum(), rtol=1e-5)
