"""Rank correlation of heat maps, and where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.explanations.similarity import similarity

MAP = np.arange(12.0).reshape(3, 4)


def test_order_alone_counts() -> None:
    assert similarity(MAP, MAP**3) == pytest.approx(1)
    assert similarity(MAP, -MAP) == pytest.approx(-1)


@pytest.mark.parametrize(
    "other", [np.zeros((3, 4)), np.full((3, 4), np.nan), np.where(MAP == 3, np.inf, MAP)]
)
def test_without_an_order_it_is_undefined(other: np.ndarray) -> None:
    assert similarity(MAP, other) is None
    assert similarity(other, MAP) is None
