"""Only what the settings name is changed."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.augmentation.change_randomly import change_randomly
from pipeline.config import RandomAugmentationConfig

PIXELS = np.random.default_rng(0).integers(60, 200, (6, 6, 3), dtype="uint8")


def changed(settings: RandomAugmentationConfig, seed: int) -> np.ndarray:
    found = np.asarray(change_randomly(PIXELS, settings=settings, seed=(3, seed)))
    assert found.dtype == np.uint8
    return found


def test_nothing_is_changed_by_default() -> None:
    settings = RandomAugmentationConfig()
    assert not settings.enabled
    np.testing.assert_array_equal(changed(settings, 0), PIXELS)


@pytest.mark.parametrize("setting", [{"rotate": True}, {"stain": 0.2}, {"colour": 0.2}])
def test_what_is_set_changes_by_seed(setting: dict[str, float]) -> None:
    settings = RandomAugmentationConfig.model_validate(setting)
    assert settings.enabled
    found = [changed(settings, seed).tobytes() for seed in range(20)]
    assert found == [changed(settings, seed).tobytes() for seed in range(20)]
    assert len(set(found)) >= (4 if settings.rotate else 20)


def test_turns_keep_every_value() -> None:
    found = changed(RandomAugmentationConfig(rotate=True), 5)
    np.testing.assert_array_equal(np.sort(found, axis=None), np.sort(PIXELS, axis=None))
