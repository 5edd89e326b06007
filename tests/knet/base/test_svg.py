"""SVG elements, scales and ticks."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base.svg import Scale, element, round_ticks


def test_element_escapes_text_and_attributes() -> None:
    child = element("title", "<a> & 'b'")
    written = element("text", child, class_="c", font_size=12, x=1.25, y=2, d=None, fill='"')
    assert written == (
        '<text class="c" font-size="12" x="1.2" y="2" fill="&#34;">'
        "<title>&lt;a&gt; &amp; &#39;b&#39;</title></text>"
    )


def test_element_without_children_is_closed() -> None:
    assert element("path", d="M0 0") == '<path d="M0 0"/>'


def test_scale_log_places_values_and_ticks() -> None:
    scale = Scale.spanning([0.01, 1.0], 10, 30, log=True)
    assert (scale(0.01), scale(0.1), scale(1.0)) == pytest.approx((10, 20, 30))
    assert scale.even_ticks(count=3) == pytest.approx([0.01, 0.1, 1.0])


def test_scale_spanning_equal_values_places_them_in_the_middle() -> None:
    assert Scale.spanning([3.0, 3.0], 10, 30)(3.0) == 20


def test_scale_clamps_values_outside_its_range() -> None:
    scale = Scale(0, 1, 30, 10)
    assert (scale(-1), scale(2)) == (30, 10)


def test_round_ticks_by_hand() -> None:
    assert round_ticks(0, 1) == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1])
    assert round_ticks(1, 43) == pytest.approx([10, 20, 30, 40])
    assert round_ticks(0, 0.74) == pytest.approx([0, 0.2, 0.4, 0.6])


@given(low=st.floats(-1e6, 1e6), width=st.floats(1e-3, 1e6))
def test_round_ticks_of_any_range_are_two_to_six(low: float, width: float) -> None:
    found = round_ticks(low, low + width)
    assert 2 <= len(found) <= 6
    assert found == sorted(found)
    slack = width * 1e-6
    assert low - slack <= found[0] and found[-1] <= low + width + slack


@pytest.mark.parametrize(("low", "high"), [(1, 1), (2, 1), (0, math.inf), (math.nan, 1)])
def test_an_empty_range_has_no_round_ticks(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="empty or not finite"):
        round_ticks(low, high)
