"""A chart of lines over a common plane."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from pipeline.report.charts.frame import HEIGHT, WIDTH, Axis, Frame


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
            WIDTH, HEIGHT, label, frame.draw(), marked, Markup("").join(_draw(line, frame) for line in lines)
        ),
        lines=tuple(lines),
    )


def _draw(line: Line, frame: Frame) -> Markup:
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
