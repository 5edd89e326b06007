"""How a list of problems is told to a user."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

_LISTED = 10  # problems named in one message


def listing(heading: str, problems: Sequence[str]) -> str:
    """A heading, the first ten problems, a line each, and how many there are beyond."""
    more = [f"  and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
    return "\n".join([f"{heading}:", *(f"  {printable(problem)}" for problem in problems[:_LISTED]), *more])


def counted(count: int, noun: str) -> str:
    """A count with its noun, such as 1 file and 2 files."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """Text in which whatever a terminal would not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def figure(value: float | None) -> str:
    """A metric with three decimals; it may be absent or undefined."""
    if value is None:
        return "–"
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def estimate(found: Mapping[str, float | None] | None) -> str:
    """A metric with its interval, as `knet.evaluation.results` has them."""
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
