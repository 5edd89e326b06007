"""Text for users: lists of problems, counts, metrics and durations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence

_MAX_LISTED = 10  # problems in one message


def list_problems(heading: str, problems: Sequence[str], *, rest: str = "") -> str:
    """Return a heading, the first ten problems with a line each, and the number of further ones.

    Args:
        heading: Text before the colon.
        problems: Texts of a line.
        rest: Where the further ones are, such as `--output FILE lists all`.
    """
    hidden = len(problems) - _MAX_LISTED
    more = [f"  and {hidden} more" + (f"; {rest}" if rest else "")] if hidden > 0 else []
    return "\n".join([f"{heading}:", *(f"  {printable(one)}" for one in problems[:_MAX_LISTED]), *more])


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count with its noun, such as `1 file` or `2 files`; the plural's default has an `s`."""
    return f"{count} {noun}" if count == 1 else f"{count} {plural or f'{noun}s'}"


def list_names(names: Sequence[str]) -> str:
    """Return names as a text, such as `a and b` or `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def natural_key(text: str) -> list[tuple[float, str]]:
    """Return the key that sorts texts by the numbers in them, such as `40X` before `100X`."""
    return [
        (int(part), "") if part.isdecimal() else (math.inf, part) for part in re.split(r"(\d+)", text) if part
    ]


def printable(text: str) -> str:
    """Return text with the characters escaped that a terminal cannot print."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_metric(value: float | None) -> str:
    """Format a metric with three decimals; `–` if absent (None), `undefined` if NaN."""
    if value is None:
        return "–"
    return "undefined" if math.isnan(value) else f"{value:.3f}"


def format_estimate(estimate: Mapping[str, float | None] | None, *, sign: bool = False) -> str:
    """Format a metric with its confidence interval, such as `0.900 (0.80 to 1.00)`.

    Args:
        estimate: `value`, `low` and `high`, as in `knet.evaluation.results`; None if absent.
        sign: whether positive numbers have a sign, as differences have.
    """
    if estimate is None:
        return "–"
    value, low, high = (estimate[name] for name in ("value", "low", "high"))
    if value is None:
        return "undefined"
    plus = "+" if sign else ""
    if low is None or high is None:
        return f"{value:{plus}.3f}"
    return f"{value:{plus}.3f} ({low:{plus}.2f} to {high:{plus}.2f})"


def format_duration(seconds: float) -> str:
    """Format a duration in its two largest units, such as `1 min 40 s`."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def format_magnitude(number: float) -> str:
    """Format a large number with three digits and its power of ten, such as `1.23 million`."""
    for power, name in ((9, " billion"), (6, " million"), (3, " thousand")):
        if number >= 10**power:
            return f"{number / 10**power:.3g}{name}"
    return f"{number:.3g}"


def format_bytes(size: int) -> str:
    """Format a size with one decimal in megabytes or gigabytes, such as `1.5 GB`."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
