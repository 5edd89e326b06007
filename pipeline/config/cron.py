"""Parser of the cron expressions of Kubeflow Pipelines."""

from __future__ import annotations

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# Smallest and largest number of each field, and the names that stand for numbers.
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
    """Return a cron expression in the form of Kubeflow Pipelines, whose first of six fields is the second.

    Kubeflow accepts five fields too, but reads the minute as the second and the hour as the minute: a nightly
    run would start every hour. So second 0 is put before five fields.

    Source: the parser of github.com/robfig/cron 1.2, which Kubeflow Pipelines uses.

    Args:
        text: minute, hour, day of the month, month and weekday, optionally after the second.

    Raises:
        ValueError: the number of fields is wrong, or a field is out of its range.
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
                raise ValueError(f"{text!r}: {part!r} is no {name}, which ranges from {low} to {high}")
    return " ".join(fields)


def _is_part(part: str, smallest: int, largest: int, names: dict[str, int]) -> bool:
    """Whether the text is a number, a range or `*`, with or without a step."""
    match = _PART.fullmatch(part)
    if match is None or match["step"] == "0" or (match["step"] and int(match["step"]) > largest):
        return False
    if match["low"] in "*?":
        return match["high"] is None
    low = _number(match["low"], names)
    high = _number(match["high"], names) if match["high"] else low
    return low is not None and high is not None and smallest <= low <= high <= largest


def _number(text: str, names: dict[str, int]) -> int | None:
    return int(text) if text.isdecimal() else names.get(text)
