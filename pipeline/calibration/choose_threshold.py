"""The probability from which an image is called positive."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray


def choose_threshold(
    scores: NDArray[np.float32],
    labels: NDArray[np.integer],
    *,
    rule: Literal["youden", "sensitivity"] | float,
    target_sensitivity: float,
) -> float:
    """The decision threshold: the score from which an image is called positive.

    Args:
        scores: [images], the probability of the positive class.
        labels: [images], 0 or 1.
        rule: `youden` maximises sensitivity + specificity - 1 (Youden, Cancer 3:32-35, 1950), of several the
            most sensitive; `sensitivity` takes the highest that reaches the target; a number is taken as it
            is.
        target_sensitivity: for the rule of that name.

    Returns:
        Half way between two scores where it was chosen, so that rounding changes no decision, as a float32;
        0.5 where a class has no images to choose by.
    """
    if isinstance(rule, float):
        return rule
    positives, negatives = np.sort(scores[labels == 1]), np.sort(scores[labels == 0])
    if not len(positives) or not len(negatives):
        return 0.5
    values = np.unique(scores)
    found = len(positives) - np.searchsorted(positives, values)
    spared = np.searchsorted(negatives, values)
    if rule == "youden":
        # In whole images, so that ties are ties.
        best = int(np.argmax(found * len(negatives) + spared * len(positives)))
    else:
        best = int(np.flatnonzero(found / len(positives) >= target_sensitivity)[-1])
    below = values[best - 1] if best else np.float32(0)
    middle = np.float32((float(below) + float(values[best])) / 2)
    return float(middle if middle > below else values[best])
