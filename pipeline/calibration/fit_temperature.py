"""Temperature scaling: one number that makes probabilities neither too sure nor too unsure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

# Logits of images that are all told apart would otherwise ask for a temperature of 0.
BOUNDS: Final = (0.1, 10.0)


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature by which logits are divided before the softmax (Guo et al., ICML 2017, section 4.2).

    It minimises the negative log-likelihood within `BOUNDS`. Which class is likelier, and the order of the
    images, do not depend on it.

    Args:
        logits: [images, 2].
        labels: [images], 0 or 1.

    Returns:
        The temperature; 1 where there are no images of one of the classes, which would say nothing.
    """
    if len(np.unique(labels)) < 2:
        return 1.0
    margins = np.diff(logits.astype(float), axis=1)[:, 0] * np.where(labels == 1, 1, -1)

    def loss(sharpness: float) -> float:  # convex in 1 / temperature
        return float(np.logaddexp(0, -sharpness * margins).mean())

    low, high = 1 / BOUNDS[1], 1 / BOUNDS[0]
    found = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    return 1 / min((1.0, float(found.x), low, high), key=loss)
