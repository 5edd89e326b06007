"""How alike two heat maps are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats


def similarity(one: NDArray[np.floating], other: NDArray[np.floating]) -> float | None:
    """Spearman's rank correlation over the places of two maps [rows, columns], -1 to 1.

    None where it is undefined: a map is the same everywhere, or not finite.
    """
    if not all(np.isfinite(heat).all() and np.ptp(heat) > 0 for heat in (one, other)):
        return None
    return float(stats.spearmanr(one.ravel(), other.ravel()).statistic)
