"""Augmentation: each setting changes what it names, reproducibly and within its strength."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knet.base.image_scalars import STAINS
from knet.models.settings import OfflineAugmentation
from knet.training.augmentation import (
    augmented_view,
    jitter_colour,
    jitter_stain,
    random_augment,
    random_rot90,
)
from knet.training.settings import RandomAugmentationConfig

PIXELS = np.random.default_rng(0).integers(60, 200, (6, 6, 3), dtype="uint8")


def changed(settings: RandomAugmentationConfig, seed: int) -> np.ndarray:
    found = np.asarray(random_augment(PIXELS, settings=settings, seed=(3, seed)))
    assert found.dtype == np.uint8
    return found


def test_random_augment_is_off_by_default() -> None:
    settings = RandomAugmentationConfig()
    assert not settings.enabled
    np.testing.assert_array_equal(changed(settings, 0), PIXELS)


@pytest.mark.parametrize("setting", [{"rotate": True}, {"stain": 0.2}, {"colour": 0.2}])
def test_random_augment_follows_the_seed(setting: dict[str, float]) -> None:
    settings = RandomAugmentationConfig.model_validate(setting)
    assert settings.enabled
    found = [changed(settings, seed).tobytes() for seed in range(20)]
    assert found == [changed(settings, seed).tobytes() for seed in range(20)]
    assert len(set(found)) >= (4 if settings.rotate else 20)


def test_random_augment_rotate_permutes_pixels() -> None:
    found = changed(RandomAugmentationConfig(rotate=True), 5)
    np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(PIXELS, axis=None))


NAMED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "original": lambda pixels: pixels,
    "flip_horizontal": np.fliplr,
    "flip_vertical": np.flipud,
    "rotate_90": np.rot90,
    "rotate_180": lambda pixels: np.rot90(pixels, 2),
    "rotate_270": lambda pixels: np.rot90(pixels, 3),
}


@pytest.mark.parametrize("kind", get_args(OfflineAugmentation))
def test_augmented_view_of_each_augmentation(kind: OfflineAugmentation) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype="uint8")
    view = augmented_view(pixels, 1, augmentations=("original", kind))
    np.testing.assert_array_equal(view, NAMED[kind](pixels))


GREY = np.full((4, 4, 3), 128, "float32")


@given(strength=st.floats(0, 0.5), seed=st.integers(0, 2**31))
@settings(max_examples=25)
def test_jitter_colour_of_gray_stays_gray_within_the_strength(strength: float, seed: int) -> None:
    found = jitter_colour(GREY, strength=strength, seed=(0, seed)).numpy()
    np.testing.assert_allclose(found, found[0, 0, 0], atol=1e-3)
    assert np.abs(found - 128).max() <= min(127.0, 255 * strength) + 1.001


def test_jitter_colour_varies_contrast_and_saturation() -> None:
    pixels = np.random.default_rng(0).uniform(100, 156, (8, 8, 3)).astype("float32")
    spreads, colours = set(), set()
    for seed in range(5):
        found = jitter_colour(pixels, strength=0.2, seed=(0, seed)).numpy()
        spreads.add(round(float(found.mean(axis=-1).std()), 2))
        colours.add(round(float(found.std(axis=-1).mean()), 2))
    assert len(spreads) > 3 and len(colours) > 3


MIX = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Pixels with moderate amounts of hematoxylin and eosin, so that none is clipped to 0 or 255."""
    amounts = np.random.default_rng(0).uniform(0.25, 0.6, (16, 16, 3)) * [1, 1, 0.3]
    return (255 * 10 ** -(amounts @ MIX)).astype("float32")


def stains(pixels: np.ndarray) -> np.ndarray:
    return (-np.log10(np.maximum(pixels, 1) / 255) @ np.linalg.inv(MIX)).reshape(-1, 3)


def test_jitter_stain_scales_and_shifts_within_the_strength(tissue: np.ndarray) -> None:
    changes = []
    for seed in range(10):
        changed = stains(jitter_stain(tissue, strength=0.1, seed=(1, seed)).numpy())
        for stain, before in enumerate(stains(tissue).T):
            scale, shift = np.polyfit(before, changed[:, stain], 1)
            np.testing.assert_allclose(scale * before + shift, changed[:, stain], atol=1e-4)
            changes.append((scale - 1, shift))
    assert np.abs(changes).max() <= 0.1 + 1e-3
    assert np.abs(changes).max(axis=0).min() > 0.07
    assert len(np.unique(np.round(changes, 6))) == 60


def test_jitter_stain_of_strength_0_changes_nothing(tissue: np.ndarray) -> None:
    np.testing.assert_allclose(jitter_stain(tissue, strength=0, seed=(0, 0)), tissue, atol=0.01)


def test_random_rot90_draws_every_rotation() -> None:
    pixels = np.arange(12, dtype="uint8").reshape(2, 2, 3)
    rotations = [np.rot90(pixels, quarters).tobytes() for quarters in range(4)]
    found = Counter(random_rot90(pixels, seed=(7, number)).numpy().tobytes() for number in range(200))
    assert found.keys() == set(rotations)
    assert min(found.values()) > 25
