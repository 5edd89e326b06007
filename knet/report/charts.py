"""The axes of a chart, and where its values lie between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

# Of the view box: the page shows a chart about this wide, so that its text is as large as the page's.
WIDTH, HEIGHT = 340, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 26, 40


@dataclass(frozen=True)
class Axis:
    """A range, and what it measures, with the unit."""

    label: str
    low: float
    high: float
    whole: bool = False  # it counts something

    @property
    def ticks(self) -> list[float]:
        """Round values to mark."""
        return [value for value in ticks(self.low, self.high) if not self.whole or value.is_integer()]


@dataclass(frozen=True)
class Frame:
    """The plane between two axes."""

    x: Axis
    y: Axis

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Where a point lies in the view box; one outside the axes lies on their edge."""
        return self._across(x), self._down(y)

    def draw(self) -> Markup:
        """Grid, ticks and labels."""
        parts = []
        for value in self.y.ticks:
            y = self._down(value)
            parts += [
                Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(_LEFT, y, WIDTH - _RIGHT),
                Markup('<text x="{}" y="{:.1f}" text-anchor="end">{:g}</text>').format(
                    _LEFT - 6, y + 4, value
                ),
            ]
        floor = HEIGHT - _BOTTOM
        for value in self.x.ticks:
            x = self._across(value)
            parts += [
                Markup('<path class="axis" d="M{:.1f} {}v4"/>').format(x, floor),
                Markup('<text x="{:.1f}" y="{}" text-anchor="middle">{:g}</text>').format(
                    x, floor + 17, value
                ),
            ]
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        return Markup("").join(
            [
                *parts,
                Markup('<path class="axis" d="M{} {}V{}H{}"/>').format(_LEFT, _TOP, floor, WIDTH - _RIGHT),
                Markup('<text x="0" y="12">{}</text>').format(self.y.label),
                Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
                    middle, HEIGHT - 6, self.x.label
                ),
            ]
        )

    def _across(self, value: float) -> float:
        return _LEFT + _share(value, self.x) * (WIDTH - _LEFT - _RIGHT)

    def _down(self, value: float) -> float:
        return HEIGHT - _BOTTOM - _share(value, self.y) * (HEIGHT - _TOP - _BOTTOM)


def _share(value: float, axis: Axis) -> float:
    return min(max((value - axis.low) / (axis.high - axis.low), 0.0), 1.0)


_WIDTH, _BAR_LEFT, _BAR_RIGHT, _BAR_TOP, _BAR_BOTTOM = 360, 116, 58, 4, 40
_BAR, _GAP = 14, 12


@dataclass(frozen=True)
class Bar:
    """A value with its interval, or a reason why there is none."""

    value: float | None
    text: str  # that stands at the bar's end
    colour: int  # of the page's palette, from 1
    hollow: bool = False
    interval: tuple[float, float] | None = None


def bar_chart(groups: Sequence[tuple[str, Sequence[Bar]]], *, axis: str, label: str) -> Markup:
    """Draws groups of bars, a name before each.

    Args:
        groups: from top to bottom.
        axis: what the bars measure.
        label: what the chart shows, for those who cannot see it.
    """
    drawn, y = [], float(_BAR_TOP)
    for name, bars in groups:
        middle = y + len(bars) * _BAR / 2 + 4
        drawn.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(_BAR_LEFT - 8, middle, name)
        )
        for bar in bars:
            drawn.append(_draw_bar(bar, y))
            y += _BAR
        y += _GAP
    floor = y - _GAP + 6
    return Markup('<svg class="chart" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}{}</svg>').format(
        _WIDTH, floor + _BAR_BOTTOM, label, _grid(floor, axis), Markup("").join(drawn)
    )


def _grid(floor: float, axis: str) -> Markup:
    parts = [
        Markup(
            '<path class="grid" d="M{0:.1f} {1}V{2:.1f}"/>'
            '<text x="{0:.1f}" y="{3:.1f}" text-anchor="middle">{4:g}</text>'
        ).format(_across(share), _BAR_TOP, floor, floor + 16, share)
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    label = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>')
    return Markup("").join([*parts, label.format(_across(0.5), floor + 33, axis)])


def _draw_bar(bar: Bar, y: float) -> Markup:
    if bar.value is None:
        return Markup('<text class="soft" x="{}" y="{:.1f}">{}</text>').format(
            _BAR_LEFT + 4, y + _BAR - 3, bar.text
        )
    end, whisker = _across(bar.value), Markup("")
    if bar.interval:
        low, high = map(_across, bar.interval)
        middle = y + _BAR / 2 - 0.5
        whisker = Markup('<path class="whisker" d="M{:.1f} {:.1f}H{:.1f}m0 -3v6M{:.1f} {:.1f}v6"/>').format(
            low, middle, high, low, middle - 3
        )
        end = max(end, high)
    return Markup(
        '<rect class="bar c{}{}" x="{}" y="{:.1f}" width="{:.1f}" height="{}"/>{}'
        '<text x="{:.1f}" y="{:.1f}">{}</text>'
    ).format(
        bar.colour,
        " hollow" if bar.hollow else "",
        _BAR_LEFT,
        y + 0.5,
        _across(bar.value) - _BAR_LEFT,
        _BAR - 2,
        whisker,
        end + 5,
        y + _BAR - 3,
        bar.text,
    )


def _across(share: float) -> float:
    return _BAR_LEFT + share * (_WIDTH - _BAR_LEFT - _BAR_RIGHT)


@dataclass(frozen=True)
class Line:
    """A line, by colour and dashes told apart from the others."""

    name: str
    points: Sequence[tuple[float, float]]  # those that are not finite leave a gap
    colour: int  # of the page's palette, from 1; 0 is the grey of something to compare with
    dashed: bool = False
    marked: Sequence[tuple[float, float]] = ()  # points with a dot


@dataclass(frozen=True)
class Chart:
    """A drawing, and the lines that its legend names."""

    svg: Markup
    lines: tuple[Line, ...]


def line_chart(lines: Sequence[Line], *, x: Axis, y: Axis, label: str, at: float | None = None) -> Chart:
    """Draws lines.

    Args:
        lines: in the order in which they are drawn and named.
        x: the axis across.
        y: the axis upwards.
        label: what the chart shows, for those who cannot see it.
        at: a value on the axis across to mark.
    """
    frame = Frame(x, y)
    marked = Markup("")
    if at is not None:
        (left, bottom), (_, top) = frame.place(at, y.low), frame.place(at, y.high)
        marked = Markup('<path class="mark" d="M{:.1f} {:.1f}V{:.1f}"/>').format(left, bottom, top)
    return Chart(
        svg=Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
            WIDTH,
            HEIGHT,
            label,
            frame.draw(),
            marked,
            Markup("").join(_draw_line(line, frame) for line in lines),
        ),
        lines=tuple(lines),
    )


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
        Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3.5"/>').format(*frame.place(*point))
        for point in line.marked
        if all(map(math.isfinite, point))
    ]
    return Markup('<g class="line c{}{}"><path d="{}"/>{}</g>').format(
        line.colour, " dashed" if line.dashed else "", "".join(steps), Markup("").join(dots)
    )


def interval_mark(value: float | None, low: float | None, high: float | None) -> Markup:
    """Draws it; nothing where the value is undefined. The figures stand beside it, so it has no text."""
    if value is None:
        return Markup("")
    whisker = Markup("")
    if low is not None and high is not None:
        whisker = Markup('<path class="whisker" d="M{:.1f} 7H{:.1f}"/>').format(4 + 112 * low, 4 + 112 * high)
    return Markup(
        '<svg class="interval" viewBox="0 0 120 14" aria-hidden="true"><path class="grid" d="M4 7H116"/>'
        '{}<circle class="c1" cx="{:.1f}" cy="7" r="4"/></svg>'
    ).format(whisker, 4 + 112 * value)


def ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, from `low` to `high`, with at most `most` steps.

    Raises:
        ValueError: the range is empty or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"no range: {low} to {high}")
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first <= most:
            break
    return [float(number * step) for number in range(first, last + 1)]
