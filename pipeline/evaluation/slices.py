"""Which parts of a split are judged on their own."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations


def slice_combinations(columns: Sequence[str]) -> list[tuple[str, ...]]:
    """The columns by whose values a split is divided: none, each, and each pair.

    Args:
        columns: the configured `data.slices`.
    """
    return [chosen for count in range(3) for chosen in combinations(columns, count)]
