"""Numbers as a person reads them."""

from __future__ import annotations

import math
from collections.abc import Mapping


def figure(value: float | None) -> str:
    """A metric with three decimals; it may be absent or undefined."""
    if value is None:
        return "–"
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def estimate(found: Mapping[str, float | None] | None) -> str:
    """A metric with its interval, as `pipeline.evaluation.results` has them."""
    if found is None:
        return "–"
    value, low, high = (found[name] for name in ("value", "low", "high"))
    if value is None:
        return "undefined"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.2f} to {high:.2f})"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is largest, and the one below."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def size(number: float) -> str:
    """A large number with three digits: 1.23 million, 45.6 billion."""
    for power, name in ((9, " billion"), (6, " million"), (3, " thousand")):
        if number >= 10**power:
            return f"{number / 10**power:.3g}{name}"
    return f"{number:.3g}"
