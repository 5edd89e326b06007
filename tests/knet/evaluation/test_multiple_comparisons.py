"""P-values of a bootstrap, and their correction for the number of comparisons."""

from __future__ import annotations

import math

import numpy as np
import pytest

from knet.evaluation.multiple_comparisons import bootstrap_p_value, holm_adjusted

NAN = float("nan")


@pytest.mark.parametrize(
    ("differences", "p_value"),
    [
        ([0.1] * 999, 2 / 1000),
        ([-0.1] * 999, 2 / 1000),
        ([0.1] * 90 + [-0.1] * 9, 2 * 10 / 100),
        ([0.0] * 99, 1.0),
        ([NAN, *[0.1] * 99], 2 / 100),
    ],
)
def test_bootstrap_p_value_counts_the_rarer_side(differences: list[float], p_value: float) -> None:
    assert bootstrap_p_value(np.array(differences)) == pytest.approx(p_value)


def test_bootstrap_p_value_of_an_undefined_difference() -> None:
    assert math.isnan(bootstrap_p_value(np.full(10, np.nan)))


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # of R's p.adjust(method="holm")
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm_adjusted_multiplies_by_the_comparisons(p_values: list[float], adjusted: list[float]) -> None:
    assert holm_adjusted(p_values) == pytest.approx(adjusted)


def test_holm_adjusted_ignores_undefined_comparisons() -> None:
    assert holm_adjusted([0.02, NAN]) == pytest.approx([0.02, NAN], nan_ok=True)
