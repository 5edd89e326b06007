"""Feature cache: maps are in the order of the images, and computed once for the same inputs."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from knet.training import feature_cache
from knet.training.dataset import TransformedSplit
from knet.training.feature_cache import CachedSplit, FeatureRangeError, cache_split, write_feature_maps


@pytest.fixture
def frozen(make_frozen: Callable[..., Any]) -> Any:
    return make_frozen()


@pytest.fixture
def cached(split: TransformedSplit, frozen: Any, tmp_path: Path) -> CachedSplit:
    write_feature_maps(split, frozen, tmp_path / "maps", batch_size=3)
    return CachedSplit(tmp_path / "maps", shape=(4, 4, 2), view_count=2, class_counts=split.class_counts)


def same(cached: Any, images: Any, frozen: Any) -> None:
    pairs = list(zip(cached, images, strict=True))
    for (maps, labels), (pixels, expected_labels) in pairs:
        assert maps.dtype == "float16"
        np.testing.assert_allclose(maps, frozen(pixels), rtol=1e-3)
        np.testing.assert_array_equal(labels, expected_labels)
    assert pairs


def test_cached_batches_have_every_view(cached: CachedSplit, split: TransformedSplit, frozen: Any) -> None:
    assert (cached.count, cached.view_count) == (split.count, 2)
    same(cached.batches(batch_size=4), split.view_batches(batch_size=4), frozen)


def test_cached_training_batches_have_the_order_of_images(
    cached: CachedSplit, split: TransformedSplit, frozen: Any
) -> None:
    asked: dict[str, Any] = {"batch_size": 4, "seed": 3, "epochs": range(1, 3)}
    same(cached.training_batches(**asked), split.training_batches(**asked), frozen)


def files(root: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in root.iterdir()}


def test_cache_split_reuses_feature_maps(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path
) -> None:
    first = cache_split(split, make_frozen(), root=tmp_path, batch_size=3)
    before = files(tmp_path)
    again = cache_split(split, make_frozen(), root=tmp_path, batch_size=4)
    assert files(tmp_path) == before
    assert len(before) == 1
    assert (again.count, again.view_count, again.class_counts) == (split.count, 2, split.class_counts)
    for (one, _), (other, _) in zip(first.batches(batch_size=2), again.batches(batch_size=2), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_cache_split_computes_a_cut_file_again(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path, share: float
) -> None:
    cache_split(split, make_frozen(), root=tmp_path, batch_size=3)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    again = cache_split(split, make_frozen(), root=tmp_path, batch_size=3)
    assert file.stat().st_size == len(content)
    same(again.batches(batch_size=4), split.view_batches(batch_size=4), make_frozen())


def test_cache_split_separates_images_views_weights_and_layers(
    split: TransformedSplit,
    pixels: np.ndarray,
    make_frozen: Callable[..., Any],
    write_transformed: Callable[..., str],
    tmp_path: Path,
) -> None:
    labels = [index % 2 for index in range(len(pixels))]
    pattern = write_transformed(pixels ^ 1, labels)
    others = TransformedSplit([pattern], size=8, offline_augmentations=("original", "flip_horizontal"))
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
    cache_split(split, make_frozen(), root=tmp_path, batch_size=3, package="of a backbone")
    assert len(files(tmp_path)) == number + 2


def test_cache_split_recomputes_for_other_code(
    split: TransformedSplit,
    make_frozen: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache_split(split, make_frozen(), root=tmp_path, batch_size=3)
    monkeypatch.setattr(feature_cache, "code_digest", lambda name: f"edited {name}")
    cache_split(split, make_frozen(), root=tmp_path, batch_size=3)
    assert len(files(tmp_path)) == 2


def test_write_feature_maps_leaves_the_file_alone(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path
) -> None:
    write_feature_maps(split, make_frozen(), tmp_path / "new" / "maps", batch_size=3)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["maps"]


def test_write_feature_maps_interrupted_leaves_nothing(
    split: TransformedSplit,
    make_frozen: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write, calls = feature_cache._record, []

    def interrupt(*arguments: Any) -> bytes:
        calls.append(arguments)
        if len(calls) == 7:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(feature_cache, "_record", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_feature_maps(split, make_frozen(), tmp_path / "maps", batch_size=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scale", [1000, 1e-9])
def test_write_feature_maps_refuses_values_out_of_range(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path, scale: float
) -> None:
    with pytest.raises(FeatureRangeError, match="too large or too small for float16"):
        write_feature_maps(split, make_frozen(scale=scale), tmp_path / "maps", batch_size=3)
    assert list(tmp_path.iterdir()) == []


def test_write_feature_maps_removes_abandoned_files(
    split: TransformedSplit, make_frozen: Callable[..., Any], tmp_path: Path
) -> None:
    for name, age in (("old.tmp", 25), ("young.tmp", 1)):
        (tmp_path / name).touch()
        then = time.time() - age * 60 * 60
        os.utime(tmp_path / name, (then, then))
    write_feature_maps(split, make_frozen(), tmp_path / "maps", batch_size=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["maps", "young.tmp"]
