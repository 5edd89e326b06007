"""Normalised stains agree with NumPy, and are those of the reference, which is fitted to training images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.models.stain import (
    STAIN_NORMALISATIONS,
    MacenkoNormalization,
    ReinhardNormalization,
    fit_stain_reference,
)

# Directions in optical density, of unit length, such as Macenko et al. find.
HAEMATOXYLIN, EOSIN = np.array([0.5626, 0.7201, 0.4062]), np.array([0.2159, 0.8012, 0.5581])
SIZE = 24


def stained(count: int, *, seed: int = 0, strength: float = 1.0) -> np.ndarray:
    """Images of both stains, uint8 [count, SIZE, SIZE, 3]; in each there are pixels of one stain alone."""
    rng = np.random.default_rng(seed)
    amounts = rng.uniform(0.1, 2.0, (count, SIZE * SIZE, 2)) * strength
    amounts[:, :100, 0] = 0
    amounts[:, 100:200, 1] = 0
    unit = [direction / np.linalg.norm(direction) for direction in (HAEMATOXYLIN, EOSIN)]
    pixels = 256 * np.exp(-amounts @ np.stack(unit)) - 1
    return np.clip(np.round(pixels), 0, 255).astype(np.uint8).reshape(count, SIZE, SIZE, 3)


def numpy_macenko(image: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stains [2, 3], highest concentrations [2] and concentrations [pixels, 2], as the paper has them."""
    density = -np.log((image.reshape(-1, 3).astype(float) + 1) / 256)
    tissue = density[(density >= 0.15).all(axis=1)]
    _, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, [2, 1]]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1, 1)
    on_plane = tissue @ plane
    angles = np.arctan2(on_plane[:, 1], on_plane[:, 0])
    low, high = np.percentile(angles, [1, 99], method="nearest")
    found = np.stack([plane @ np.array([np.cos(angle), np.sin(angle)]) for angle in (low, high)])
    stains = found[np.argsort(-found[:, 0])]
    concentrations = np.linalg.lstsq(stains.T, density.T, rcond=None)[0].T
    return stains, np.percentile(concentrations, 99, axis=0, method="nearest"), concentrations


def numpy_lab(image: np.ndarray) -> np.ndarray:
    to_lms = np.array([[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]])
    l, m, s = np.log10(to_lms @ (image.reshape(-1, 3).astype(float) + 1).T)  # noqa: E741
    return np.stack([(l + m + s) / np.sqrt(3), (l + m - 2 * s) / np.sqrt(6), (l - m) / np.sqrt(2)], axis=1)


def measured(kind: Any, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, usable = kind.measure(images.astype("float32"))
    return np.asarray(values), np.asarray(usable)


def test_macenko_recovers_the_stains_of_images() -> None:
    values, usable = measured(MacenkoNormalization, stained(3))
    assert usable.all()
    for value in values:
        for found, true in zip(value[:6].reshape(2, 3), (HAEMATOXYLIN, EOSIN), strict=True):
            assert found @ true / np.linalg.norm(true) > 0.998
    np.testing.assert_allclose(values[:, 6:], 2.0, rtol=0.07)


def test_macenko_equals_numpy() -> None:
    images, reference = stained(2, seed=1), [*HAEMATOXYLIN, *EOSIN, 1.2, 0.8]
    values, _ = measured(MacenkoNormalization, images)
    normalised = np.asarray(MacenkoNormalization(reference)(images.astype("float32")))
    for image, value, result in zip(images, values, normalised, strict=True):
        stains, highest, concentrations = numpy_macenko(image)
        np.testing.assert_allclose(value, [*stains.ravel(), *highest], rtol=2e-3, atol=2e-3)
        density = concentrations / highest * [1.2, 0.8] @ np.stack([HAEMATOXYLIN, EOSIN])
        expected = np.clip(256 * np.exp(-density) - 1, 0, 255)
        np.testing.assert_allclose(result.reshape(-1, 3), expected, atol=0.5)


def test_reinhard_equals_numpy_and_matches_the_reference() -> None:
    images = stained(2, seed=2)
    values, usable = measured(ReinhardNormalization, images)
    assert usable.all()
    for image, value in zip(images, values, strict=True):
        lab = numpy_lab(image)
        np.testing.assert_allclose(value, [*lab.mean(axis=0), *lab.std(axis=0)], atol=1e-4)
    # Those of another image in paler stains; nothing is cut off at white or black then.
    (reference,), _ = measured(ReinhardNormalization, stained(1, seed=3, strength=0.6))
    normalised = np.asarray(ReinhardNormalization(reference)(images.astype("float32")))
    assert normalised.min() > 0 and normalised.max() < 255
    for result in normalised:
        lab = numpy_lab(result)
        np.testing.assert_allclose([*lab.mean(axis=0), *lab.std(axis=0)], reference, atol=1e-3)


@pytest.mark.parametrize("kind", STAIN_NORMALISATIONS.values())
def test_stain_normalization_to_its_own_reference_is_identity(kind: Any) -> None:
    images = stained(1, seed=4).astype("float32")
    (reference,), _ = measured(kind, images)
    np.testing.assert_allclose(np.asarray(kind(reference)(images)), images, atol=2.0)


@pytest.mark.parametrize("kind", STAIN_NORMALISATIONS.values())
def test_stain_normalization_darkens_paler_images(kind: Any) -> None:
    (reference,), _ = measured(kind, stained(1, seed=5))
    pale = stained(2, seed=5, strength=0.6).astype("float32")
    dark = stained(1, seed=5).mean(axis=(0, 1, 2))
    results = np.asarray(kind(reference)(pale)).mean(axis=(1, 2))
    assert np.abs(pale.mean(axis=(1, 2)) - dark).max() > 20
    np.testing.assert_allclose(results, [dark, dark], atol=6)


@pytest.mark.parametrize("value", [0, 90, 255])
def test_stain_normalization_keeps_an_image_of_one_color(value: int) -> None:
    flat = np.full((1, SIZE, SIZE, 3), value, dtype="float32")
    layer = MacenkoNormalization([*HAEMATOXYLIN, *EOSIN, 1.0, 1.0])
    np.testing.assert_array_equal(np.asarray(layer(flat)), flat)
    assert np.isfinite(np.asarray(ReinhardNormalization([2.0, 0, 0, 0.1, 0.1, 0.1])(flat))).all()


@given(seed=st.integers(0, 2**16), other=st.sampled_from([0, 128, 255]))
@settings(max_examples=10)
def test_stain_normalization_is_independent_of_the_batch(seed: int, other: int) -> None:
    image = stained(1, seed=seed)
    beside = np.concatenate([np.full_like(image, other), image])
    for kind in STAIN_NORMALISATIONS.values():
        np.testing.assert_allclose(measured(kind, beside)[0][1], measured(kind, image)[0][0], atol=1e-5)


@pytest.mark.parametrize("name", STAIN_NORMALISATIONS)
def test_fit_stain_reference_is_the_median_of_usable_images(name: str) -> None:
    images = np.concatenate([stained(3, seed=6), np.full((1, SIZE, SIZE, 3), 255, np.uint8)])
    batches = tf.data.Dataset.from_tensor_slices((images, [0] * 4)).batch(2)
    reference = np.array(fit_stain_reference(name, batches))
    values, usable = measured(STAIN_NORMALISATIONS[name], images)
    np.testing.assert_allclose(reference, np.median(values[usable], axis=0), atol=1e-5)


def test_fit_stain_reference_refuses_glass_alone() -> None:
    batches = tf.data.Dataset.from_tensors((np.full((2, SIZE, SIZE, 3), 255, np.uint8), [0, 0]))
    with pytest.raises(UserError, match=r"image\.stain_normalisation=macenko: no training image"):
        fit_stain_reference("macenko", batches)
    assert fit_stain_reference("none", batches) is None


@pytest.mark.parametrize("kind", STAIN_NORMALISATIONS.values())
def test_stain_reference_is_saved_with_the_model(kind: Callable[..., Any], tmp_path: Path) -> None:
    images = stained(2, seed=7).astype("float32")
    (reference,), _ = measured(kind, stained(1, seed=8))
    inputs = keras.Input((SIZE, SIZE, 3))
    model = keras.Model(inputs, kind(reference)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(loaded(images), model(images), atol=1e-4)
    # In a graph too, as it is served.
    graph = tf.function(model, input_signature=[tf.TensorSpec([None, SIZE, SIZE, 3])])
    np.testing.assert_allclose(graph(images), model(images), atol=0.05)
