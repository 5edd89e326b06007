"""Numbers as a person reads them."""

from __future__ import annotations

import math

import pytest

from pipeline.report.formats import duration, estimate, figure, size


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
