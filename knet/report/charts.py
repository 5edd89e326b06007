"""SVG charts of the report page, in the colours of its style sheet: lines, bars and interval marks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from knet.base.svg import Point, Scale, element, round_ticks

# View box of a line chart: about its width on the page, so that its text is as large as the page's.
_WIDTH, _HEIGHT = 340, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 26, 40


@dataclass(frozen=True)
class Axis:
    """A range of values with its label."""

    label: str  # quantity and unit
    low: float
    high: float
    whole: bool = False  # counts something: ticks are whole numbers

    @property
    def ticks(self) -> list[float]:
        """Round values to label."""
        return [value for value in round_ticks(self.low, self.high) if not self.whole or value.is_integer()]


@dataclass(frozen=True)
class Line:
    """A line of a chart; colour and dashes tell it from the others."""

    name: str
    points: Sequence[Point]  # those that are not finite leave a gap
    colour: int  # number in the page's palette, from 1; 0 is the grey of a reference line
    dashed: bool = False
    marked: Sequence[Point] = ()  # points with a dot


@dataclass(frozen=True)
class Chart:
    """A drawing with the lines that its legend names."""

    svg: Markup
    lines: tuple[Line, ...]


def line_chart(lines: Sequence[Line], *, x: Axis, y: Axis, label: str, at: float | None = None) -> Chart:
    """Draw lines between two axes.

    Args:
        lines: in the order of drawing and of the legend.
        x: horizontal axis.
        y: vertical axis.
        label: text alternative of the chart.
        at: value on the horizontal axis to mark with a vertical line; default: none.
    """
    frame = Frame(x, y)
    marked = Markup("")
    if at is not None:
        (left, bottom), (_, top) = frame.place(at, y.low), frame.place(at, y.high)
        marked = element("path", class_="mark", d=f"M{left:.1f} {bottom:.1f}V{top:.1f}")
    drawn = Markup("").join(_draw_line(line, frame) for line in lines)
    return Chart(svg=_chart(_WIDTH, _HEIGHT, label, frame.draw(), marked, drawn), lines=tuple(lines))


def _chart(width: int, height: float, label: str, *parts: Markup) -> Markup:
    box = f"0 0 {width} {height:.0f}"
    return element("svg", *parts, class_="chart", viewBox=box, role="img", aria_label=label)


def _draw_line(line: Line, frame: Frame) -> Markup:
    steps, pen = [], "M"
    for point in line.points:
        if not all(map(math.isfinite, point)):
            pen = "M"
            continue
        across, down = frame.place(*point)
        steps.append(f"{pen}{across:.1f} {down:.1f}")
        pen = "L"
    dots = [
        element("circle", cx=across, cy=down, r=3.5)
        for across, down in (frame.place(*point) for point in line.marked if all(map(math.isfinite, point)))
    ]
    style = f"line c{line.colour}{' dashed' if line.dashed else ''}"
    return element("g", element("path", d="".join(steps)), *dots, class_=style)


class Frame:
    """The plane between two axes."""

    def __init__(self, x: Axis, y: Axis) -> None:
        """Initialize with the horizontal and the vertical axis."""
        self._axes = x, y
        self._across = Scale(x.low, x.high, _LEFT, _WIDTH - _RIGHT)
        self._down = Scale(y.low, y.high, _HEIGHT - _BOTTOM, _TOP)

    def place(self, x: float, y: float) -> Point:
        """Return the position of a point in the view box; a point outside the axes lies on their edge."""
        return self._across(x), self._down(y)

    def draw(self) -> Markup:
        """Draw grid, ticks and labels."""
        axis_x, axis_y = self._axes
        floor, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
        parts = []
        for value in axis_y.ticks:
            y = self._down(value)
            parts += [
                element("path", class_="grid", d=f"M{_LEFT} {y:.1f}H{right}"),
                element("text", f"{value:g}", x=_LEFT - 6, y=y + 4, text_anchor="end"),
            ]
        for value in axis_x.ticks:
            x = self._across(value)
            parts += [
                element("path", class_="axis", d=f"M{x:.1f} {floor}v4"),
                element("text", f"{value:g}", x=x, y=floor + 17, text_anchor="middle"),
            ]
        middle = (_LEFT + right) / 2
        parts += [
            element("path", class_="axis", d=f"M{_LEFT} {_TOP}V{floor}H{right}"),
            element("text", axis_y.label, x=0, y=12),
            element("text", axis_x.label, x=middle, y=_HEIGHT - 6, text_anchor="middle"),
        ]
        return Markup("").join(parts)


@dataclass(frozen=True)
class Bar:
    """A value with its interval, or the reason for its absence."""

    value: float | None
    text: str  # at the end of the bar
    colour: int  # number in the page's palette, from 1
    hollow: bool = False
    interval: tuple[float, float] | None = None


_BARS_WIDTH, _BARS_LEFT, _BARS_RIGHT, _BARS_TOP, _BARS_BOTTOM = 360, 116, 58, 4, 40
_BAR, _GAP = 14, 12  # height of a bar, distance between groups
_SHARE = Scale(0, 1, _BARS_LEFT, _BARS_WIDTH - _BARS_RIGHT)


def bar_chart(
    groups: Sequence[tuple[str, Sequence[Bar]]], *, axis: str, label: str, at: float | None = None
) -> Markup:
    """Draw groups of horizontal bars from 0 to 1.

    Args:
        groups: names with their bars, from top to bottom.
        axis: label of the horizontal axis.
        label: text alternative of the chart.
        at: value to mark with a vertical line; default: none.
    """
    drawn, y = [], float(_BARS_TOP)
    for name, bars in groups:
        middle = y + len(bars) * _BAR / 2 + 4
        drawn.append(element("text", name, x=_BARS_LEFT - 8, y=middle, text_anchor="end"))
        for bar in bars:
            drawn.append(_draw_bar(bar, y))
            y += _BAR
        y += _GAP
    floor = y - _GAP + 6
    if at is not None:
        drawn.append(element("path", class_="mark", d=f"M{_SHARE(at):.1f} {_BARS_TOP}V{floor:.1f}"))
    return _chart(_BARS_WIDTH, floor + _BARS_BOTTOM, label, _bars_grid(floor, axis), *drawn)


def _bars_grid(floor: float, axis: str) -> Markup:
    parts = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = _SHARE(share)
        parts += [
            element("path", class_="grid", d=f"M{x:.1f} {_BARS_TOP}V{floor:.1f}"),
            element("text", f"{share:g}", x=x, y=floor + 16, text_anchor="middle"),
        ]
    return Markup("").join([*parts, element("text", axis, x=_SHARE(0.5), y=floor + 33, text_anchor="middle")])


def _draw_bar(bar: Bar, y: float) -> Markup:
    if bar.value is None:
        return element("text", bar.text, class_="soft", x=_BARS_LEFT + 4, y=y + _BAR - 3)
    end, whisker = _SHARE(bar.value), Markup("")
    if bar.interval:
        low, high = map(_SHARE, bar.interval)
        middle = y + _BAR / 2 - 0.5
        path = f"M{low:.1f} {middle:.1f}H{high:.1f}m0 -3v6M{low:.1f} {middle - 3:.1f}v6"
        whisker = element("path", class_="whisker", d=path)
        end = max(end, high)
    style = f"bar c{bar.colour}{' hollow' if bar.hollow else ''}"
    width = _SHARE(bar.value) - _BARS_LEFT
    return Markup("").join(
        [
            element("rect", class_=style, x=_BARS_LEFT, y=y + 0.5, width=width, height=_BAR - 2),
            whisker,
            element("text", bar.text, x=end + 5, y=y + _BAR - 3),
        ]
    )


def interval_mark(value: float | None, low: float | None, high: float | None) -> Markup:
    """Draw a value and its interval on a line from 0 to 1; nothing for an undefined value.

    The mark is hidden from screen readers: the numbers stand beside it.
    """
    if value is None:
        return Markup("")
    scale = Scale(0, 1, 4, 116)
    parts = [element("path", class_="grid", d="M4 7H116")]
    if low is not None and high is not None:
        parts.append(element("path", class_="whisker", d=f"M{scale(low):.1f} 7H{scale(high):.1f}"))
    parts.append(element("circle", class_="c1", cx=scale(value), cy=7, r=4))
    return element("svg", *parts, class_="interval", viewBox="0 0 120 14", aria_hidden="true")
