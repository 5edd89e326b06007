"""Feature maps are computed once for the same images, layers and weights, and anew for others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.dataset import TransformedSplit
from pipeline.feature_cache import cache_split as module
from pipeline.feature_cache.cache_split import cache_split


def files(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in root.iterdir()}


def test_the_same_is_found_again_and_holds_what_it_should(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path
) -> None:
    first = cache_split(split, make_frozen(), root=tmp_path, batch_size=3)
    before = files(tmp_path)
    again = cache_split(split, make_frozen(), root=tmp_path, batch_size=4)
    assert files(tmp_path) == before
    assert len(before) == 1
    assert (again.count, again.copy_count, again.class_counts) == (split.count, 2, split.class_counts)
    for (one, _), (other, _) in zip(first.batches(batch_size=2), again.batches(batch_size=2), strict=True):
        np.testing.assert_array_equal(one, other)


def test_other_images_copies_weights_and_layers_have_maps_of_their_own(
    split: TransformedSplit,
    pixels: np.ndarray,
    make_frozen: Callable[..., Any],
    write_transformed: Callable[..., str],
    tmp_path: Path,
) -> None:
    labels = [index % 2 for index in range(len(pixels))]
    pattern = write_transformed(pixels ^ 1, labels)
    others = TransformedSplit([pattern], size=8, copies=("original", "flip_horizontal"))
    once = TransformedSplit([pattern], size=8)
    for number, (images, frozen) in enumerate(
        [
            (split, make_frozen()),
            (others, make_frozen()),
            (once, make_frozen()),
            (split, make_frozen(scale=0.02)),
            (split, make_frozen(activation="relu")),
            (split, make_frozen(dtype="mixed_bfloat16")),
        ]
    ):
        cache_split(images, frozen, root=tmp_path, batch_size=3)
        assert len(files(tmp_path)) == number + 1


def test_other_code_computes_anew(
    split: TransformedSplit,
    make_frozen: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache_split(split, make_frozen(), root=tmp_path, batch_size=3)
    monkeypatch.setattr(module, "code_digest", lambda name: f"edited {name}")
    cache_split(split, make_frozen(), root=tmp_path, batch_size=3)
    assert len(files(tmp_path)) == 2
