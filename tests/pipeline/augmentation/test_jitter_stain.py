"""Each stain, unmixed by NumPy, is scaled and shifted, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from components.breakhis_example_gen.image_scalars import STAINS
from pipeline.augmentation.jitter_stain import jitter_stain

MIX = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    """Pixels of haematoxylin and eosin of moderate amounts, so that nothing is cut off at 0 or 255."""
    amounts = np.random.default_rng(0).uniform(0.25, 0.6, (16, 16, 3)) * [1, 1, 0.3]
    return (255 * 10 ** -(amounts @ MIX)).astype("float32")


def stains(pixels: np.ndarray) -> np.ndarray:
    return (-np.log10(np.maximum(pixels, 1) / 255) @ np.linalg.inv(MIX)).reshape(-1, 3)


def test_each_stain_is_scaled_and_shifted_within_the_strength(tissue: np.ndarray) -> None:
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


def test_strength_0_changes_nothing(tissue: np.ndarray) -> None:
    np.testing.assert_allclose(jitter_stain(tissue, strength=0, seed=(0, 0)), tissue, atol=0.01)
