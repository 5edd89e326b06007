"""The records of the images that are kept stay, all copies of them, in their order."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from pipeline.keep_records import keep_records


def test_every_copy_of_an_image_is_kept_or_none() -> None:
    records = tf.data.Dataset.from_tensor_slices(["a0", "a1", "b0", "b1", "c0", "c1"])
    kept = keep_records(records, np.array([True, False, True]), copies=2)
    assert list(kept.as_numpy_iterator()) == [b"a0", b"a1", b"c0", b"c1"]


def test_none_may_be_kept() -> None:
    records = tf.data.Dataset.from_tensor_slices(["a", "b"])
    assert list(keep_records(records, np.zeros(2, bool)).as_numpy_iterator()) == []
