"""Served predictions against those of the Keras model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from training_fixtures import build_hybrid

from knet.models.hybrid import HEAD, LOGITS
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


@pytest.mark.parametrize(
    ("temperature", "difference"),
    [
        (0.5, 2.0),
        (1.0, 2.0),
        (2.0, 2.0),
        (12.0, 120.0),  # softmax alone saturates: its logarithm would end at -87
    ],
)
def test_keras_predictions_are_calibrated(
    tmp_path: Path, picture: Callable[..., bytes], temperature: float, difference: float
) -> None:
    model = build_hybrid("mobilenet")
    logits = model.get_layer(HEAD).get_layer(LOGITS)
    kernel, _ = logits.get_weights()
    logits.set_weights([np.zeros_like(kernel), np.array([0.0, -difference])])
    model.save(tmp_path / "model.keras")
    (predicted,) = keras_predictions(
        tmp_path / "model.keras",
        [picture(colour=(255, 0, 0))],
        backbone="mobilenet",
        size=32,
        temperature=temperature,
    )
    positive = 1 / (1 + np.exp(difference / temperature))
    np.testing.assert_allclose(predicted, [1 - positive, positive], rtol=1e-5)


def test_keras_predictions_import_the_package_of_the_backbone(
    own_package: Path, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    build_hybrid("mynets.nets:build").save(tmp_path / "model.keras")
    # As in another process.
    del sys.modules["mynets.nets"]
    keras.saving.get_custom_objects().pop("mynets>Sharpen")
    ((benign, malignant),) = keras_predictions(
        tmp_path / "model.keras", [picture()], backbone="mynets.nets:build", size=32, temperature=1.0
    )
    assert benign + malignant == pytest.approx(1)
