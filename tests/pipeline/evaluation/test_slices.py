"""Which parts of a split are judged."""

from __future__ import annotations

from pipeline.evaluation.slices import slice_combinations


def test_a_split_is_judged_whole_by_column_and_by_pair() -> None:
    assert slice_combinations(["a", "b", "c"]) == [
        (), ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c"),
    ]  # fmt: skip


def test_without_columns_it_is_judged_whole() -> None:
    assert slice_combinations([]) == [()]
