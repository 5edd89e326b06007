"""Cron expressions of schedules, in the form that Kubeflow Pipelines reads."""

from __future__ import annotations

import re


def check_cron(text: str) -> str:
    """Return a cron expression in the form of Kubeflow Pipelines, whose first of six fields is the second.

    Kubeflow accepts five fields too, but reads the minute as the second and the hour as the minute: a nightly
    run would start every hour. So second 0 is put before five fields.

    Source: the parser of github.com/robfig/cron 1.2, which Kubeflow Pipelines uses.

    Args:
        text: minute, hour, day of the month, month and weekday, optionally after the second.

    Raises:
        ValueError: the number of fields is wrong, a field is out of its range, or no date has the day.
    """
    fields = text.split()
    if len(fields) == len(_FIELDS) - 1:
        fields = ["0", *fields]
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"{text!r} has {len(fields)} fields, not five (minute hour day month weekday) or six (second "
            "first); 0 2 * * * is every night at two"
        )
    values: dict[str, set[int]] = {}
    for field, (name, limits) in zip(fields, _FIELDS.items(), strict=True):
        for part in field.lower().split(","):
            numbers = _numbers(part, *limits)
            if numbers is None:
                low, high, _ = limits
                raise ValueError(f"{text!r}: {part!r} is no {name}, which ranges from {low} to {high}")
            values.setdefault(name, set()).update(numbers)
    # With a weekday either day is enough.
    if fields[-1] in ("*", "?") and min(values[_DAY]) > max(_DAYS[month] for month in values["month"]):
        raise ValueError(f"{text!r} never comes: no such month has day {min(values[_DAY])}")
    return " ".join(fields)


_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_DAY = "day of the month"
_DAYS = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), 1))  # at most, by month
# Smallest and largest number of each field, and the names that stand for numbers.
_FIELDS: dict[str, tuple[int, int, dict[str, int]]] = {
    "second": (0, 59, {}),
    "minute": (0, 59, {}),
    "hour": (0, 23, {}),
    _DAY: (1, 31, {}),
    "month": (1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    "weekday": (0, 6, {name: number for number, name in enumerate(_WEEKDAYS)}),
}
_PART = re.compile(r"(?P<low>\*|\?|\w+)(-(?P<high>\w+))?(/(?P<step>\d+))?")


def _numbers(part: str, smallest: int, largest: int, names: dict[str, int]) -> range | None:
    """Return the numbers of a number, a range or `*`, with or without a step; None if the text is neither."""
    match = _PART.fullmatch(part)
    if match is None or match["step"] == "0" or (match["step"] and int(match["step"]) > largest):
        return None
    if match["low"] in "*?":
        low, high = (smallest, largest) if match["high"] is None else (None, None)
    else:
        low = _number(match["low"], names)
        # From a number on, if it has a step.
        high = _number(match["high"], names) if match["high"] else largest if match["step"] else low
    if low is None or high is None or not smallest <= low <= high <= largest:
        return None
    return range(low, high + 1, int(match["step"] or 1))


def _number(text: str, names: dict[str, int]) -> int | None:
    return int(text) if text.isdecimal() else names.get(text)
