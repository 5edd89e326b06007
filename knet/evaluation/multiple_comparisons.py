"""Tests of many differences between candidates: bootstrap p-values and their correction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray


def bootstrap_p_value(differences: NDArray[Any]) -> float:
    """Return the two-sided p-value of the hypothesis that a difference is zero.

    It is twice the share of resamples on the rarer side of zero, with one resample more on either side, so
    that it is never 0: at least 2 / (resamples + 1).

    Args:
        differences: the difference in each resample, [resamples]; NaN where undefined.

    Returns:
        Probability, 0 to 1; NaN if the difference is defined in no resample.
    """
    defined = differences[np.isfinite(differences)]
    if not defined.size:
        return float("nan")
    rarer = min(np.sum(defined <= 0), np.sum(defined >= 0))
    return float(min(2 * (rarer + 1) / (defined.size + 1), 1.0))


def holm_adjusted(p_values: Sequence[float]) -> list[float]:
    """Return p-values that are corrected for their number, in the same order.

    With those below 0.05 called differences, the probability that any of them is false is at most 0.05 (Holm,
    Scandinavian Journal of Statistics 6(2), 1979).

    Args:
        p_values: of all comparisons, 0 to 1; those that are NaN stay so and do not count.
    """
    adjusted = np.array(p_values, np.float64)
    order = [index for index in np.argsort(adjusted, kind="stable") if np.isfinite(adjusted[index])]
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min((len(order) - rank) * float(adjusted[index]), 1.0))
        adjusted[index] = largest
    return [float(value) for value in adjusted]
