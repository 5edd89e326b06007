"""Takes some of the records of a dataset."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def keep_records(records: Any, keep: np.ndarray, *, copies: int = 1) -> Any:
    """Those of the images that are kept, in their order.

    Args:
        records: a tf.data.Dataset.
        keep: booleans [images].
        copies: successive records of an image.
    """
    kept = tf.constant(np.repeat(keep, copies))

    def is_kept(place: Any, record: Any) -> Any:
        return tf.gather(kept, place)

    def record_alone(place: Any, record: Any) -> Any:
        return record

    return records.enumerate().filter(is_kept).map(record_alone)
