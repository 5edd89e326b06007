"""Kept feature maps come in the order in which the images would have come."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.dataset import TransformedSplit
from pipeline.feature_cache.cached_split import CachedSplit
from pipeline.feature_cache.write_feature_maps import write_feature_maps


@pytest.fixture
def frozen(make_frozen: Callable[..., Any]) -> Any:
    return make_frozen()


@pytest.fixture
def cached(split: TransformedSplit, frozen: Any, tmp_path: Path) -> CachedSplit:
    write_feature_maps(split, frozen, tmp_path / "maps", batch_size=3)
    return CachedSplit(tmp_path / "maps", shape=(4, 4, 2), copy_count=2, class_counts=split.class_counts)


def same(cached: Any, images: Any, frozen: Any) -> None:
    pairs = list(zip(cached, images, strict=True))
    for (maps, labels), (pixels, expected_labels) in pairs:
        assert maps.dtype == "float16"
        np.testing.assert_allclose(maps, frozen(pixels), rtol=1e-3)
        np.testing.assert_array_equal(labels, expected_labels)
    assert pairs


def test_batches_are_those_of_every_copy(cached: CachedSplit, split: TransformedSplit, frozen: Any) -> None:
    assert (cached.count, cached.copy_count) == (split.count, 2)
    same(cached.batches(batch_size=4), split.copies(batch_size=4), frozen)


def test_training_batches_are_shuffled_alike(
    cached: CachedSplit, split: TransformedSplit, frozen: Any
) -> None:
    asked: dict[str, Any] = {"batch_size": 4, "seed": 3, "epochs": range(1, 3)}
    same(cached.training_batches(**asked), split.training_batches(**asked), frozen)
