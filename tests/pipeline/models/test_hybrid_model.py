"""The hybrid model: shapes, padding, normalisation and what learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.models.backbones import BACKBONES
from pipeline.models.hybrid_model import build_hybrid_model

SIZE = 32


def build(backbone: str = "mobilenet", **settings: Any) -> keras.Model:
    defaults: dict[str, Any] = {
        "size": SIZE,
        "sequence_length": 4,
        "weights": None,
        "alpha": 0.25 if backbone == "mobilenet" else None,
        "normalisation": "backbone",
        "pixel_mean": (180, 140, 190),
        "pixel_std": (30, 40, 30),
        "lstm_units": 5,
        "dense_units": 7,
        "dropout": 0.5,
        "batch_norm_momentum": 0.9,
        "variant": "parallel",
        "synchronized": False,
    }
    keras.utils.set_random_seed(0)
    return build_hybrid_model(backbone, **{**defaults, **settings})


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype("float32")


@pytest.mark.parametrize("backbone", BACKBONES)
def test_every_backbone_gives_probabilities(backbone: str, pixels: np.ndarray) -> None:
    probabilities = build(backbone)(pixels)
    assert probabilities.shape == (3, 2)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-5)


def test_padding_never_changes_the_output(pixels: np.ndarray) -> None:
    short, long = build(sequence_length=1), build(sequence_length=64)
    long.set_weights(short.get_weights())
    np.testing.assert_allclose(short(pixels), long(pixels), atol=1e-6)


def test_backbone_and_head_are_models_of_their_own(pixels: np.ndarray) -> None:
    model = build(normalisation="backbone")
    body, head = model.get_layer("backbone"), model.get_layer("head")
    scaled = BACKBONES["mobilenet"].scale(pixels)
    np.testing.assert_allclose(head(body(scaled)), model(pixels), atol=1e-6)


def test_whole_numbers_are_taken_as_they_are(pixels: np.ndarray) -> None:
    model = build()
    whole = pixels.astype("uint8")
    np.testing.assert_array_equal(model(whole), model(whole.astype("float32")))


@pytest.mark.parametrize("normalisation", ["image", "backbone", "dataset"])
def test_model_survives_saving_with_every_normalisation(
    normalisation: str, pixels: np.ndarray, tmp_path: Path
) -> None:
    model = build(normalisation=normalisation)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(restored(pixels), model(pixels), atol=1e-6)


def test_dataset_normalisation_removes_the_given_mean() -> None:
    mean = np.broadcast_to(np.array([180, 140, 190], "float32"), (1, SIZE, SIZE, 3))
    model = build(normalisation="dataset")
    scaled = keras.Model(model.input, model.layers[1].output)(mean)
    np.testing.assert_allclose(scaled, 0, atol=1e-4)


def test_weights_file_is_what_the_backbone_starts_from(shared_data: Path) -> None:
    file = shared_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    body = build(weights=str(file)).get_layer("backbone")
    expected = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=file, input_shape=(224, 224, 3)
    )
    for own, other in zip(body.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_weights_of_another_network_are_refused(shared_data: Path) -> None:
    file = shared_data / "weights" / "mobilenet_7_5_224_tf_no_top.h5"
    with pytest.raises(UserError, match="does not fit mobilenet"):
        build(weights=str(file))
