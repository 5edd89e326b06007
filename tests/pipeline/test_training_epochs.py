"""An epoch's order depends on seed and epoch alone, and whatever the buffer, nothing is lost."""

from __future__ import annotations

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.training_epochs import training_epochs


def order(epochs: range, *, count: int = 50, seed: int = 0, buffer: int = 4096, batch: int = 7) -> list[int]:
    elements = tf.data.Dataset.range(count).map(lambda number: (number,))
    batches = training_epochs(
        elements,
        lambda number, seed: number,
        count=count,
        batch_size=batch,
        buffer=buffer,
        seed=seed,
        epochs=epochs,
    )
    return [int(number) for numbers in batches for number in numbers]


@given(
    count=st.integers(1, 30),
    buffer=st.integers(1, 40),
    batch=st.integers(1, 40),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=15)
def test_every_epoch_has_every_element_once(count: int, buffer: int, batch: int, seed: int) -> None:
    found = order(range(2), count=count, buffer=buffer, batch=batch, seed=seed)
    assert sorted(found[:count]) == sorted(found[count:]) == list(range(count))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_order_does_not_depend_on_the_global_seed(seed: int) -> None:
    before = order(range(2))
    tf.random.set_seed(seed)
    assert order(range(2)) == before


def test_a_later_start_goes_on_as_it_would_have_been() -> None:
    whole = order(range(5))
    assert order(range(3, 5)) == whole[150:]
    assert len({tuple(whole[start : start + 50]) for start in range(0, 250, 50)}) == 5


def test_an_epoch_of_one_seed_is_none_of_another() -> None:
    assert not {tuple(order(range(epoch, epoch + 1), seed=0)) for epoch in range(4)} & {
        tuple(order(range(epoch, epoch + 1), seed=1)) for epoch in range(4)
    }


def test_the_parser_is_given_seed_and_epoch() -> None:
    elements = tf.data.Dataset.range(2).map(lambda number: (number,))
    batches = training_epochs(
        elements,
        lambda number, seed: seed,
        count=2,
        batch_size=2,
        buffer=2,
        seed=9,
        epochs=range(4, 6),
    )
    assert [batch.tolist() for batch in batches.as_numpy_iterator()] == [[[9, 4]] * 2, [[9, 5]] * 2]
