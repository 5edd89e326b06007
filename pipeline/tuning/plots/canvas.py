"""A small SVG figure with axes; colours follow the page that it stands in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

WIDTH, HEIGHT = 640, 400  # pixels
LEFT, RIGHT, TOP, BOTTOM = 76, 20, 30, 56  # margins
_BEST, _WORST = (27, 94, 168), (226, 190, 120)


class Scale:
    """Places numbers between two pixels, on a linear or a log scale."""

    def __init__(self, values: Sequence[float], begin: float, end: float, *, log: bool = False) -> None:
        """Takes the numbers that must fit, and the pixels of the least and the greatest."""
        self._map: Callable[[float], float] = math.log10 if log else float
        low, high = min(map(self._map, values)), max(map(self._map, values))
        if low == high:
            low, high = low - 0.5, high + 0.5
        self._low, self._high, self._begin, self._end, self._log = low, high, begin, end, log

    def __call__(self, value: float) -> float:
        """The pixel."""
        share = (self._map(value) - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self, count: int = 5) -> list[float]:
        """Some numbers, evenly spaced on the scale, its ends included."""
        step = (self._high - self._low) / (count - 1)
        places = [self._low + step * place for place in range(count)]
        return [10**place for place in places] if self._log else places


class Canvas:
    """Collects shapes and writes them out."""

    def __init__(self, title: str) -> None:
        """Begins an empty figure."""
        self._title = title
        self._shapes: list[str] = []

    def text(self, x: float, y: float, words: str, *, anchor: str = "middle", turn: bool = False) -> None:
        """Writes."""
        turned = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turn else ""
        self._shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turned}>{escape(words)}</text>'
        )

    def line(self, points: Sequence[tuple[float, float]], *, colour: str, width: float = 1) -> None:
        """Draws through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width:g}"/>'
        )

    def dot(self, x: float, y: float, words: str, *, colour: str, ring: bool = False) -> None:
        """Draws a dot that says `words` under the pointer."""
        stroke = ' stroke="#c22" stroke-width="2.5"' if ring else ""
        self._shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="6" fill="{colour}"{stroke}>'
            f"<title>{escape(words)}</title></circle>"
        )

    def axes(self, x: Scale, y: Scale, *, x_name: str, y_name: str, whole_x: bool = False) -> None:
        """Draws both axes with their names and ticks."""
        right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
        self.line([(LEFT, TOP), (LEFT, bottom), (right, bottom)], colour="#888")
        for value in sorted({round(v) for v in x.ticks()} if whole_x else x.ticks()):
            self.text(x(value), bottom + 18, f"{value:.3g}")
        for value in y.ticks():
            self.text(LEFT - 6, y(value) + 4, f"{value:.3g}", anchor="end")
        self.text((LEFT + right) / 2, HEIGHT - 14, x_name)
        self.text(18, (TOP + bottom) / 2, y_name, turn=True)

    def svg(self) -> str:
        """The figure."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'width="{WIDTH}" font-family="system-ui, sans-serif" font-size="12" fill="currentColor">'
            f"<title>{escape(self._title)}</title>"
            f'<text x="{LEFT}" y="18" font-weight="600">{escape(self._title)}</text>'
            f"{''.join(self._shapes)}</svg>"
        )


def shade(score: float, *, best: float, worst: float) -> str:
    """The colour of a score: dark where it is good."""
    share = 0.0 if best == worst else (score - best) / (worst - best)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(_BEST, _WORST, strict=True))
    return f"#{red:02x}{green:02x}{blue:02x}"
