"""When a schedule runs, in the words of Kubeflow Pipelines."""

from __future__ import annotations

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# By field: its least and greatest number, and the names that stand for numbers.
_FIELDS: dict[str, tuple[int, int, dict[str, int]]] = {
    "second": (0, 59, {}),
    "minute": (0, 59, {}),
    "hour": (0, 23, {}),
    "day of the month": (1, 31, {}),
    "month": (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    "weekday": (0, 6, {name: number for number, name in enumerate(_WEEKDAYS)}),
}
_PART = re.compile(r"(?P<low>\*|\?|\w+)(-(?P<high>\w+))?(/(?P<step>\d+))?")


def check_cron(text: str) -> str:
    """A cron expression as Kubeflow Pipelines reads it, whose first of six fields is the second.

    Kubeflow reads an expression of five fields too, but takes the minute for the second and the hour for the
    minute: it would start a nightly run every hour. So the second 0 is put before those.

    Source: the parser of github.com/robfig/cron 1.2, which Kubeflow Pipelines uses.

    Args:
        text: minute, hour, day of the month, month and weekday; before them the second, where there are six.

    Raises:
        ValueError: it is no such expression.
    """
    fields = text.split()
    if len(fields) == len(_FIELDS) - 1:
        fields = ["0", *fields]
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(fields)} fields, not five (minute hour day month weekday) or six (second "
            "first); 0 2 * * * is every night at two"
        )
    for field, (name, limits) in zip(fields, _FIELDS.items(), strict=True):
        for part in field.lower().split(","):
            if not _is_part(part, *limits):
                low, high, _ = limits
                raise ValueError(f"{text!r}: {part!r} is no {name}, which goes from {low} to {high}")
    return " ".join(fields)


def _is_part(part: str, least: int, greatest: int, names: dict[str, int]) -> bool:
    """Whether it is a number, a range or `*`, with or without a step."""
    match = _PART.fullmatch(part)
    if match is None or match["step"] == "0" or (match["step"] and int(match["step"]) > greatest):
        return False
    if match["low"] in "*?":
        return match["high"] is None
    low = _number(match["low"], names)
    high = _number(match["high"], names) if match["high"] else low
    return low is not None and high is not None and least <= low <= high <= greatest


def _number(text: str, names: dict[str, int]) -> int | None:
    return int(text) if text.isdecimal() else names.get(text)
