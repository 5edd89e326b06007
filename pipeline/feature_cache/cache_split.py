"""Finds the feature maps of a split, or has them computed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import keras

from pipeline.dataset import TransformedSplit
from pipeline.digest import code_digest
from pipeline.feature_cache.cached_split import CachedSplit
from pipeline.feature_cache.write_feature_maps import write_feature_maps


def cache_split(split: TransformedSplit, frozen: keras.Model, *, root: Path, batch_size: int) -> CachedSplit:
    """The feature maps that the frozen part of a model makes of every copy of a split's images.

    They are kept by what they depend on: pixels, labels and copies; layers, their settings, number formats
    and weights; code and library versions.

    Args:
        split: the images.
        frozen: from pixels to feature maps.
        root: folder of all that is kept; any file of it may be removed when no training runs.
        batch_size: images that are computed at once.

    Raises:
        FeatureRangeError: values are too large or too small for float16.
    """
    file = root / f"{_key(split, frozen)}.tfrecord"
    if file.is_file():
        os.utime(file, ns=(time.time_ns(), file.stat().st_mtime_ns))  # read now: `knet cache` goes by that
    else:
        write_feature_maps(split, frozen, file, batch_size=batch_size)
    return CachedSplit(
        file,
        shape=frozen.output_shape[1:],
        copy_count=split.copy_count,
        class_counts=split.class_counts,
    )


def _key(split: TransformedSplit, frozen: keras.Model) -> str:
    digest = hashlib.sha256(split.digest.encode())
    digest.update(frozen.to_json().encode())
    for weights in frozen.get_weights():
        digest.update(weights.tobytes())
    digest.update(code_digest("pipeline.feature_cache.write_feature_maps").encode())
    digest.update(code_digest("pipeline.models.divide_model").encode())
    return digest.hexdigest()
