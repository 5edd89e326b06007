"""Round numbers along an axis."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.report.charts.ticks import ticks


def test_ticks_are_round_numbers() -> None:
    assert ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert ticks(1, 43) == pytest.approx([10, 20, 30, 40])
    assert ticks(0, 0.74) == pytest.approx([0, 0.2, 0.4, 0.6])


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_there_are_some_ticks_in_any_range_and_not_too_many(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert 2 <= len(found) <= 6
    assert found == sorted(found)
    slack = width * 1e-6
    assert low - slack <= found[0] and found[-1] <= low + width + slack


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_an_empty_range_has_no_ticks(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="no range"):
        ticks(low, high)
