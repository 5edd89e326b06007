"""Charts of the report page."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

import pytest

from knet.report.charts import Axis, Bar, Frame, Line, bar_chart, interval_mark, line_chart

X, Y = Axis("epoch", 0, 10), Axis("loss (nats)", 0, 2)


def drawn(svg: str) -> ElementTree.Element:
    """Parse a drawing, which must be well-formed."""
    return ElementTree.fromstring(svg)


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in drawn(svg).iter("text")]


def paths(svg: str) -> list[str]:
    """Path data of the lines."""
    groups = [group for group in drawn(svg).iter("g") if (group.get("class") or "").startswith("line")]
    return [path.get("d") or "" for group in groups for path in group.iter("path")]


def test_frame_places_larger_values_higher_and_to_the_right() -> None:
    frame = Frame(X, Y)
    (left, bottom), (right, top) = frame.place(0, 0), frame.place(10, 2)
    assert left < right and top < bottom
    assert frame.place(5, 1) == pytest.approx(((left + right) / 2, (bottom + top) / 2))


def test_frame_places_points_outside_on_the_edge() -> None:
    frame = Frame(X, Y)
    assert frame.place(-5, 9) == frame.place(0, 2)


def test_axis_of_counts_has_whole_ticks() -> None:
    assert Axis("epoch", 1, 3, whole=True).ticks == [1, 2, 3]
    assert Axis("epoch", 1, 3).ticks == [1, 1.5, 2, 2.5, 3]


def test_line_chart_has_axis_labels_and_text_alternative() -> None:
    chart = line_chart([Line("train", [(0, 1), (10, 2)], colour=1)], x=X, y=Y, label="loss <falls>")
    assert {"epoch", "loss (nats)", "0", "2", "10"} <= set(texts(chart.svg))
    assert (drawn(chart.svg).get("role"), drawn(chart.svg).get("aria-label")) == ("img", "loss <falls>")


def test_line_chart_non_finite_point_leaves_a_gap() -> None:
    line = Line("train", [(0, 1), (1, 1), (2, math.nan), (3, 1), (4, 1)], colour=1)
    (path,) = paths(line_chart([line], x=X, y=Y, label="").svg)
    assert re.sub(r"[^ML]", "", path) == "MLML"
    assert "nan" not in path


def test_line_chart_dashes_distinguish_lines() -> None:
    lines = [Line("a", [(0, 0)], colour=1), Line("b", [(0, 0)], colour=2, dashed=True)]
    svg = line_chart(lines, x=X, y=Y, label="").svg
    assert [group.get("class") for group in drawn(svg).iter("g")] == ["line c1", "line c2 dashed"]


def test_line_chart_marked_points_have_dots_where_defined() -> None:
    line = Line("a", [(0, 0)], colour=1, marked=[(1, 1), (1, math.nan)])
    assert len(list(drawn(line_chart([line], x=X, y=Y, label="").svg).iter("circle"))) == 1


def test_line_chart_marks_a_value_on_the_horizontal_axis() -> None:
    svg = line_chart([], x=X, y=Y, label="", at=10).svg
    assert f'class="mark" d="M{Frame(X, Y).place(10, 0)[0]:.1f} ' in svg


def bar_ends(svg: str) -> list[float]:
    return [float(rect.get("width") or "nan") for rect in drawn(svg).iter("rect")]


def test_bar_chart_bars_are_proportional_to_values() -> None:
    bars = [Bar(value, f"{value}", colour=1) for value in (0.0, 0.5, 1.0)]
    none, half, whole = bar_ends(bar_chart([("a", bars)], axis="accuracy", label=""))
    assert none == 0 and whole == pytest.approx(2 * half, abs=0.2)


def test_bar_chart_bar_without_value_shows_its_text() -> None:
    svg = bar_chart([("vgg16", [Bar(None, "no <number>", colour=2)])], axis="accuracy", label="")
    assert {"no <number>", "vgg16", "accuracy"} <= set(texts(svg))
    assert bar_ends(svg) == []


def test_bar_chart_interval_is_a_whisker() -> None:
    svg = bar_chart([("a", [Bar(0.5, "", colour=1, interval=(0.25, 1.0))])], axis="", label="")
    assert svg.count('class="whisker"') == 1


def test_interval_mark_spans_the_whole_line() -> None:
    svg = interval_mark(0.5, 0.0, 1.0)
    assert 'd="M4.0 7H116.0"' in svg and 'cx="60.0"' in svg
    assert drawn(svg).get("aria-hidden") == "true"


def test_interval_mark_without_value_or_interval() -> None:
    assert interval_mark(None, None, None) == ""
    assert "whisker" not in interval_mark(0.5, None, None)
