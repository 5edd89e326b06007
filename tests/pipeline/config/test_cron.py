"""Cron expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.cron import check_cron


@pytest.mark.parametrize(
    "text",
    [
        "0 0 2 * * *",
        "* * * * * *",
        "0 */15 8-18 ? * MON-FRI",
        "0,30 0 0 1,15 jan-jun 0",
        "59 59 23 31 12 6",
        "0 0 0/6 * * sun",
        "0 0 2 1-31/2 * *",
        "0 0 2 29 2 *",
        "0 0 2 31 feb,mar *",
        "0 0 2 25/6 4 ?",
        "0 0 2 31 2 mon",
    ],
)
def test_check_cron_accepts_six_fields(text: str) -> None:
    assert check_cron(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 * * *", r"has 4 fields, not five \(minute"),
        ("60 2 * * *", "'60' is no minute"),
        ("0 2 * * 7", "'7' is no weekday"),
        ("", "has 0 fields"),
        ("@daily", "has 1 fields"),
        ("0 0 2 * * * 2026", "has 7 fields"),
        ("60 0 2 * * *", "'60' is no second, which ranges from 0 to 59"),
        ("0 0 24 * * *", "'24' is no hour"),
        ("0 0 2 0 * *", "'0' is no day of the month, which ranges from 1 to 31"),
        ("0 0 2 * 13 *", "'13' is no month"),
        ("0 0 2 * * 7", "'7' is no weekday"),
        ("0 0 2 * * mon-sun", "is no weekday"),
        ("0 0 2 * feb feb", "'feb' is no weekday"),
        ("0 5-1 2 * * *", "is no minute"),
        ("0 */0 2 * * *", "is no minute"),
        ("0 *-5 2 * * *", "is no minute"),
        ("0 0, 2 * * *", "'' is no minute"),
        ("0 -1 2 * * *", "is no minute"),
        ("0 0 2 L * *", "is no day of the month"),
        ("0 2 31 2 *", "never comes: no such month has day 31"),
        ("0 0 2 31 apr,jun ?", "never comes"),
        ("0 0 2 30-31 2 *", "never comes: no such month has day 30"),
    ],
)
def test_check_cron_refuses_invalid_expression(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        check_cron(text)


@pytest.mark.parametrize(
    ("text", "six"),
    [
        ("0 2 * * *", "0 0 2 * * *"),
        ("*/15 8-18 ? * MON-FRI", "0 */15 8-18 ? * MON-FRI"),
        (" 0  2 * * *", "0 0 2 * * *"),
    ],
)
def test_check_cron_puts_second_zero_before_five_fields(text: str, six: str) -> None:
    assert check_cron(text) == six


_LIMITS = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


def _field(limits: tuple[int, int]) -> st.SearchStrategy[str]:
    number = st.integers(*limits)
    span = st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}")
    step = st.integers(1, limits[1]).map(lambda size: f"*/{size}")
    return st.lists(st.one_of(number.map(str), span, step, st.just("*")), min_size=1, max_size=3).map(
        ",".join
    )


_DAY_OF_EVERY_MONTH = (1, 29)  # so that some date comes


@given(
    fields=st.tuples(*map(_field, [*_LIMITS[:3], _DAY_OF_EVERY_MONTH, *_LIMITS[4:]])),
    where=st.integers(0, 5),
    over=st.integers(1, 1000),
)
def test_check_cron_accepts_numbers_within_limits_alone(
    fields: tuple[str, ...], where: int, over: int
) -> None:
    assert check_cron(" ".join(fields)) == " ".join(fields)
    wrong = [*fields]
    wrong[where] += f",{_LIMITS[where][1] + over}"
    with pytest.raises(ValueError, match="which ranges from"):
        check_cron(" ".join(wrong))
