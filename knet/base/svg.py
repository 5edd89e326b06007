"""SVG elements, scales and ticks, which the report's charts and the tuning plots are drawn with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from markupsafe import Markup

Point = tuple[float, float]


def element(name: str, *children: str, **attributes: Any) -> Markup:
    """Return an SVG element; text and attribute values are escaped.

    Args:
        name: of the element.
        children: text, or elements.
        attributes: in the order of output, `_` for `-` (`class_` for `class`); None is omitted, and floats
            have one decimal.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(
            key.rstrip("_").replace("_", "-"), f"{value:.1f}" if isinstance(value, float) else value
        )
        for key, value in attributes.items()
        if value is not None
    )
    if not children:
        return Markup("<{}{}/>").format(name, written)
    return Markup("<{0}{1}>{2}</{0}>").format(name, written, Markup("").join(children))


class Scale:
    """A linear or logarithmic map from values to pixels; values outside the range lie on its ends."""

    def __init__(self, low: float, high: float, start: float, end: float, *, log: bool = False) -> None:
        """Initialize the scale.

        Args:
            low: value at `start`.
            high: value at `end`, larger than `low`.
            start: pixel.
            end: pixel.
            log: whether the scale is logarithmic; values are positive then.
        """
        self._map: Callable[[float], float] = math.log10 if log else float
        self._low, self._high = self._map(low), self._map(high)
        self._start, self._end, self._log = start, end, log

    @classmethod
    def spanning(cls, values: Sequence[float], start: float, end: float, *, log: bool = False) -> Scale:
        """Return the scale from the least to the greatest of some values; equal values are in its middle."""
        scale = cls(min(values), max(values), start, end, log=log)
        if scale._low == scale._high:
            scale._low, scale._high = scale._low - 0.5, scale._high + 0.5
        return scale

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        share = (self._map(value) - self._low) / (self._high - self._low)
        return self._start + min(max(share, 0.0), 1.0) * (self._end - self._start)

    def even_ticks(self, count: int = 5) -> list[float]:
        """Return values at equal distances in pixels, both ends included."""
        step = (self._high - self._low) / (count - 1)
        mapped = [self._low + step * number for number in range(count)]
        return [10**value for value in mapped] if self._log else mapped


def round_ticks(low: float, high: float, *, max_steps: int = 5) -> list[float]:
    """Return multiples of 1, 2 or 5 times a power of ten, from `low` to `high`.

    Args:
        low: lower end of the range.
        high: upper end.
        max_steps: greatest number of steps between the ticks.

    Raises:
        ValueError: the range is empty or not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"range {low} to {high} is empty or not finite")
    rough = (high - low) / max_steps
    power = 10.0 ** math.floor(math.log10(rough))
    for step in (power, 2 * power, 5 * power, 10 * power, 20 * power):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first <= max_steps:
            break
    return [float(number * step) for number in range(first, last + 1)]
