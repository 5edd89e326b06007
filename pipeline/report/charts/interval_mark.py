"""A value from 0 to 1 and its interval, as a mark on a short line in a table's cell."""

from __future__ import annotations

from markupsafe import Markup


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
