"""Shuffles and batches what is trained on, as a function of seed and epoch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def training_epochs(
    elements: Any,
    parse: Callable[..., Any],
    *,
    count: int,
    batch_size: int,
    buffer: int,
    seed: int,
    epochs: range,
) -> Any:
    """A tf.data.Dataset of the batches of several epochs, one after the other.

    Each epoch has every element once, in an order that depends on seed and epoch alone; so an interrupted
    training finds the rest as it would have been.

    Args:
        elements: a dataset of tuples.
        parse: takes an element's parts and, as `seed`, int64 [2] of seed and epoch; gives a training example.
        count: of the elements.
        batch_size: of all batches but the last of an epoch, which may be shorter.
        buffer: elements held in memory, from which the next is drawn.
        seed: of the order.
        epochs: their numbers.
    """

    def one_epoch(epoch: Any) -> Any:
        # Of this function's graph: else TensorFlow's global seed would count too, and must not be 0.
        tf.compat.v1.set_random_seed(1)
        pair = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.stateless_uniform([], pair, minval=None, maxval=None, dtype=tf.int64)
        return (
            elements.shuffle(min(count, buffer), seed=order, reshuffle_each_iteration=False)
            .map(lambda *parts: parse(*parts, seed=pair), num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size)
        )

    steps = -(-count // batch_size)
    return (
        tf.data.Dataset.range(epochs.start, epochs.stop)
        .flat_map(one_epoch)
        .apply(tf.data.experimental.assert_cardinality(steps * len(epochs)))
        .prefetch(tf.data.AUTOTUNE)
    )
