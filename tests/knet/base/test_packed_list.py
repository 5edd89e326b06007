"""Packed lists."""

from __future__ import annotations

import pickle
from operator import itemgetter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base import packed_list as module
from knet.base.packed_list import PackedList, sort_packed


@pytest.mark.parametrize("count", [0, 1, 255, 256, 257, 5000])
def test_packed_list_holds_its_items(count: int) -> None:
    items = [(f"{number}.png", number) for number in range(count)]
    packed = PackedList(items)
    assert len(packed) == count and list(packed) == items
    assert packed == items and tuple(items) == packed and packed == PackedList(items)
    assert [packed[index] for index in range(-count, count)] == items * 2
    assert packed[1:-1:7] == items[1:-1:7]
    assert pickle.loads(pickle.dumps(packed)) == packed


@pytest.mark.parametrize("index", [2000, -2001])
def test_packed_list_has_no_item_out_of_range(index: int) -> None:
    with pytest.raises(IndexError):
        PackedList(range(2000))[index]


def test_packed_lists_of_other_items_differ() -> None:
    assert PackedList([1, 2]) != [1, 3] and PackedList([1, 2]) != [1] and PackedList([1]) != 1


def test_packed_list_takes_tens_of_bytes_an_image() -> None:
    packed = PackedList(
        (f"slide-{number // 500}/x{number % 500:05}.png", "benign") for number in range(50_000)
    )
    assert len(pickle.dumps(packed)) < 20 * 50_000


@given(st.lists(st.tuples(st.integers(0, 9), st.integers())))
def test_sort_packed_equals_sorted(items: list[tuple[int, int]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_RUN", 3)
        assert sort_packed(items, key=itemgetter(0)) == sorted(items, key=itemgetter(0))
