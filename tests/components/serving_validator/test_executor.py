"""Served answers must be probabilities, and the model's own."""

from __future__ import annotations

import pytest

from components.serving_validator.executor import compare_answers


def test_equal_answers_pass() -> None:
    compare_answers([[0.25, 0.75]], [[0.25, 0.75 + 1e-7]])


@pytest.mark.parametrize(
    ("served", "direct", "message"),
    [
        ([[0.25, 0.7]], [[0.25, 0.7]], "test image 0.*do not sum to one"),
        ([[0.5, 0.5], [0.25, 0.75]], [[0.5, 0.5], [0.75, 0.25]], "test image 1.*the model itself gives"),
        ([[float("nan")] * 2], [[float("nan")] * 2], "do not sum to one"),
    ],
)
def test_other_answers_are_refused(
    served: list[list[float]], direct: list[list[float]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        compare_answers(served, direct)
