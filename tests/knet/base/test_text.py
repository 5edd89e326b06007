"""Texts for users."""

from __future__ import annotations

import math

import pytest

from knet.base.text import (
    counted,
    format_duration,
    format_estimate,
    format_magnitude,
    format_metric,
    list_names,
    list_problems,
    natural_key,
    printable,
)


def test_list_problems_counts_beyond_ten() -> None:
    lines = list_problems("13 problems", [f"file {number}" for number in range(13)]).splitlines()
    assert lines[0] == "13 problems:"
    assert lines[1:11] == [f"  file {number}" for number in range(10)]
    assert lines[11:] == ["  and 3 more"]


def test_list_problems_lists_few() -> None:
    assert list_problems("1 problem", ["file"]) == "1 problem:\n  file"


def test_counted_adds_plural() -> None:
    assert [counted(count, "file") for count in (0, 1, 2)] == ["0 files", "1 file", "2 files"]


def test_printable_escapes_control_characters() -> None:
    assert printable("größe\n\x1b[31m\udcff") == "größe\\n\\x1b[31m\\udcff"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 s"), (99.94, "99.9 s"), (100, "1 min 40 s"), (5999, "99 min 59 s"), (10860, "3 h 1 min")],
)
def test_format_duration_uses_two_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(12, "12"), (1234, "1.23 thousand"), (59_900_000, "59.9 million"), (2.39e10, "23.9 billion")],
)
def test_format_magnitude_has_three_digits(number: float, text: str) -> None:
    assert format_magnitude(number) == text


@pytest.mark.parametrize(("value", "text"), [(0.5, "0.500"), (None, "–"), (math.nan, "undefined")])
def test_format_metric_absent_or_undefined(value: float | None, text: str) -> None:
    assert format_metric(value) == text


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ({"value": 0.9, "low": 0.8, "high": 1.0}, "0.900 (0.80 to 1.00)"),
        ({"value": 0.9, "low": None, "high": None}, "0.900"),
        ({"value": None, "low": None, "high": None}, "undefined"),
        (None, "–"),
    ],
)
def test_format_estimate_with_interval(found: dict[str, float | None] | None, text: str) -> None:
    assert format_estimate(found) == text


def test_list_names_of_one_or_more() -> None:
    assert [list_names(list("abc")[:count]) for count in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_natural_key_sorts_by_the_numbers_in_texts() -> None:
    texts = ["fold 10", "200X", "other", "fold 2", "100X", "40X"]
    assert sorted(texts, key=natural_key) == ["40X", "100X", "200X", "fold 2", "fold 10", "other"]
