"""The axes of a chart, and where its values lie between them."""

from __future__ import annotations

from dataclasses import dataclass

from markupsafe import Markup

from pipeline.report.charts.ticks import ticks

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
