"""Computes the feature maps of one split and keeps them."""

from __future__ import annotations

import logging
import time
import uuid
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline.dataset import TransformedSplit
from pipeline.feature_cache.cached_split import FEATURE_MAP, LABEL
from pipeline.progress import PROGRESS

_DAY = 24 * 60 * 60
_MAX_ERROR = 2e-3  # of a batch, as a share of its norm; rounding to float16 alone gives at most 2^-11


class FeatureRangeError(Exception):
    """Feature maps whose values float16 cannot hold; the text says so."""


def write_feature_maps(split: TransformedSplit, frozen: keras.Model, file: Path, *, batch_size: int) -> None:
    """Writes a TFRecord of every copy of every image, in the split's order; whole or not at all.

    Args:
        split: the images.
        frozen: from pixels to feature maps; it infers, as frozen layers do in training.
        file: where.
        batch_size: images that are computed at once.

    Raises:
        FeatureRangeError: values are too large or too small for float16.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    _remove_abandoned(file)
    # Of its own name, as another process may be at the same.
    temporary = file.with_name(f"{file.name}.{uuid.uuid4().hex}.tmp")
    try:
        _write(split, frozen, temporary, batch_size=batch_size)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def _write(split: TransformedSplit, frozen: keras.Model, file: Path, *, batch_size: int) -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, *frozen.input_shape[1:]], tf.uint8)])
    def infer(pixels: Any) -> tuple[Any, Any]:
        exact = tf.cast(frozen(pixels, training=False), tf.float32)
        kept = tf.cast(exact, tf.float16)
        return kept, tf.math.divide_no_nan(tf.norm(exact - tf.cast(kept, tf.float32)), tf.norm(exact))

    progress = logging.getLogger(PROGRESS)
    written, said = 0, time.monotonic()
    with tf.io.TFRecordWriter(str(file)) as writer:
        for pixels, labels in split.copies(batch_size=batch_size):
            feature_maps, error = infer(pixels)
            if not error < _MAX_ERROR:  # an error that is not a number included
                raise FeatureRangeError(
                    "values of the frozen blocks' feature maps are too large or too small for float16, as "
                    "those of an untrained backbone are"
                )
            for feature_map, label in zip(feature_maps.numpy(), labels.numpy(), strict=True):
                writer.write(_record(feature_map, label))
            written += len(labels)
            if time.monotonic() - said >= 1:
                said = time.monotonic()
                progress.debug("feature maps of the frozen blocks: %d written", written)
    progress.info("feature maps of the frozen blocks: %d written", written)


def _record(feature_map: Any, label: int) -> bytes:
    example = tf.train.Example()
    content = feature_map.astype("<f2").tobytes()
    example.features.feature[FEATURE_MAP].bytes_list.value.append(content)
    example.features.feature[LABEL].int64_list.value.append(label)
    return bytes(example.SerializeToString())


def _remove_abandoned(file: Path) -> None:
    """Of a process that was killed; one that is still at it does not stop for a day."""
    for left in file.parent.glob("*.tmp"):
        try:
            if time.time() - left.stat().st_mtime > _DAY:
                left.unlink()
        except FileNotFoundError:  # another process was faster
            continue
