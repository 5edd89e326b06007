"""Round numbers along an axis."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.report.charts import Axis, Bar, Frame, Line, bar_chart, interval_mark, line_chart, ticks


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


X, Y = Axis("epoch", 0, 10), Axis("loss (nats)", 0, 2)


def drawn(svg: str) -> ElementTree.Element:
    """The drawing; it must be well-formed."""
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in drawn(svg).iter("text")]


def paths(svg: str) -> list[str]:
    """Of the lines."""
    groups = [group for group in drawn(svg).iter("g") if (group.get("class") or "").startswith("line")]
    return [path.get("d") or "" for group in groups for path in group.iter("path")]


def test_larger_values_lie_higher_and_further_to_the_right() -> None:
    frame = Frame(X, Y)
    (left, bottom), (right, top) = frame.place(0, 0), frame.place(10, 2)
    assert left < right and top < bottom
    assert frame.place(5, 1) == pytest.approx(((left + right) / 2, (bottom + top) / 2))


def test_points_beyond_the_axes_lie_on_the_edge() -> None:
    frame = Frame(X, Y)
    assert frame.place(-5, 9) == frame.place(0, 2)


def test_what_is_counted_has_whole_ticks() -> None:
    assert Axis("epoch", 1, 3, whole=True).ticks == [1, 2, 3]
    assert Axis("epoch", 1, 3).ticks == [1, 1.5, 2, 2.5, 3]


def test_a_line_chart_names_its_axes_with_units_and_itself() -> None:
    chart = line_chart([Line("train", [(0, 1), (10, 2)], colour=1)], x=X, y=Y, label="loss <falls>")
    assert {"epoch", "loss (nats)", "0", "2", "10"} <= set(texts(chart.svg))
    assert (drawn(chart.svg).get("role"), drawn(chart.svg).get("aria-label")) == ("img", "loss <falls>")


def test_a_point_that_is_not_finite_leaves_a_gap() -> None:
    line = Line("train", [(0, 1), (1, 1), (2, math.nan), (3, 1), (4, 1)], colour=1)
    (path,) = paths(line_chart([line], x=X, y=Y, label="").svg)
    assert re.sub(r"[^ML]", "", path) == "MLML"
    assert "nan" not in path


def test_lines_are_told_apart_by_dashes_too() -> None:
    lines = [Line("a", [(0, 0)], colour=1), Line("b", [(0, 0)], colour=2, dashed=True)]
    svg = line_chart(lines, x=X, y=Y, label="").svg
    assert [group.get("class") for group in drawn(svg).iter("g")] == ["line c1", "line c2 dashed"]


def test_marked_points_have_dots_unless_they_are_undefined() -> None:
    line = Line("a", [(0, 0)], colour=1, marked=[(1, 1), (1, math.nan)])
    assert len(list(drawn(line_chart([line], x=X, y=Y, label="").svg).iter("circle"))) == 1


def test_a_value_on_the_axis_across_can_be_marked() -> None:
    svg = line_chart([], x=X, y=Y, label="", at=10).svg
    assert f'class="mark" d="M{Frame(X, Y).place(10, 0)[0]:.1f} ' in svg


def bar_ends(svg: str) -> list[float]:
    return [float(rect.get("width") or "nan") for rect in drawn(svg).iter("rect")]


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar(value, f"{value}", colour=1) for value in (0.0, 0.5, 1.0)]
    none, half, whole = bar_ends(bar_chart([("a", bars)], axis="accuracy", label=""))
    assert none == 0 and whole == pytest.approx(2 * half, abs=0.2)


def test_a_bar_without_a_value_says_why() -> None:
    svg = bar_chart([("vgg16", [Bar(None, "no <number>", colour=2)])], axis="accuracy", label="")
    assert {"no <number>", "vgg16", "accuracy"} <= set(texts(svg))
    assert bar_ends(svg) == []


def test_an_interval_is_a_whisker_on_its_bar() -> None:
    svg = bar_chart([("a", [Bar(0.5, "", colour=1, interval=(0.25, 1.0))])], axis="", label="")
    assert svg.count('class="whisker"') == 1


def test_an_interval_mark_goes_from_end_to_end() -> None:
    svg = interval_mark(0.5, 0.0, 1.0)
    assert 'd="M4.0 7H116.0"' in svg and 'cx="60.0"' in svg
    assert drawn(svg).get("aria-hidden") == "true"


def test_an_undefined_value_has_no_mark_and_an_undefined_interval_no_whisker() -> None:
    assert interval_mark(None, None, None) == ""
    assert "whisker" not in interval_mark(0.5, None, None)
