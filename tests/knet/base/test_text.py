"""How problems are told."""

from __future__ import annotations

import math

import pytest

from knet.base.text import counted, duration, estimate, figure, listing, printable, size


def test_ten_problems_are_listed_and_the_rest_counted() -> None:
    lines = listing("13 problems", [f"file {number}" for number in range(13)]).splitlines()
    assert lines[0] == "13 problems:"
    assert lines[1:11] == [f"  file {number}" for number in range(10)]
    assert lines[11:] == ["  and 3 more"]


def test_few_problems_are_all_listed() -> None:
    assert listing("1 problem", ["file"]) == "1 problem:\n  file"


def test_one_is_told_from_many() -> None:
    assert [counted(count, "file") for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_what_is_not_printable_is_escaped() -> None:
    assert printable("größe\n\x1b[31m\udcff") == "größe\\n\\x1b[31m\\udcff"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (99.94, "99.9 s"), (100, "1 min 40 s"), (5999, "99 min 59 s"), (10860, "3 h 1 min")],
)
def test_seconds_become_a_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(12, "12"), (1234, "1.23 thousand"), (59_900_000, "59.9 million"), (2.39e10, "23.9 billion")],
)
def test_large_numbers_have_three_digits(number: float, text: str) -> None:
    assert size(number) == text


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.500"), (None, "–"), (math.nan, "undefined")])
def test_a_metric_may_be_absent_or_undefined(value: float | None, text: str) -> None:
    assert figure(value) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"value": 0.9, "low": 0.8, "high": 1.0}, "0.900 (0.80 to 1.00)"),
        ({"value": 0.9, "low": None, "high": None}, "0.900"),
        ({"value": None, "low": None, "high": None}, "undefined"),
        (None, "–"),
    ],
)
def test_an_estimate_has_its_interval(found: dict[str, float | None] | None, text: str) -> None:
    assert estimate(found) == text
