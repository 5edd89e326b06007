"""A chart of horizontal bars in groups, from 0 to 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

_WIDTH, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 116, 58, 4, 40
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
    drawn, y = [], float(_TOP)
    for name, bars in groups:
        middle = y + len(bars) * _BAR / 2 + 4
        drawn.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(_LEFT - 8, middle, name)
        )
        for bar in bars:
            drawn.append(_draw(bar, y))
            y += _BAR
        y += _GAP
    floor = y - _GAP + 6
    return Markup('<svg class="chart" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}">{}{}</svg>').format(
        _WIDTH, floor + _BOTTOM, label, _grid(floor, axis), Markup("").join(drawn)
    )


def _grid(floor: float, axis: str) -> Markup:
    parts = [
        Markup(
            '<path class="grid" d="M{0:.1f} {1}V{2:.1f}"/>'
            '<text x="{0:.1f}" y="{3:.1f}" text-anchor="middle">{4:g}</text>'
        ).format(_across(share), _TOP, floor, floor + 16, share)
        for share in (0.0, 0.25, 0.5, 0.75, 1.0)
    ]
    label = Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="middle">{}</text>')
    return Markup("").join([*parts, label.format(_across(0.5), floor + 33, axis)])


def _draw(bar: Bar, y: float) -> Markup:
    if bar.value is None:
        return Markup('<text class="soft" x="{}" y="{:.1f}">{}</text>').format(
            _LEFT + 4, y + _BAR - 3, bar.text
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
        _LEFT,
        y + 0.5,
        _across(bar.value) - _LEFT,
        _BAR - 2,
        whisker,
        end + 5,
        y + _BAR - 3,
        bar.text,
    )


def _across(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)
