"""Which test images are explained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def pick_images(
    scores: NDArray[np.floating],
    labels: NDArray[np.integer],
    patients: Sequence[str],
    *,
    threshold: float,
    count: int,
) -> dict[str, list[int]]:
    """Places of the images of each kind, the most typical first.

    Args:
        scores: [images], the probability of the positive class.
        labels: [images], 0 or 1.
        patients: [images]; of each at most one image is of a kind.
        threshold: from which an image is called positive.
        count: images of a kind, where there are as many.

    Returns:
        `certain`, rightly called and nearest to a probability of 0 or 1; `wrong`, wrongly called and farthest
        from what they are; `uncertain`, nearest to the threshold and neither of these.
    """
    right = (scores >= threshold) == (labels == 1)
    off = np.abs(scores - labels)
    order = {
        "certain": _ascending(off, among=right),
        "wrong": _ascending(-off, among=~right),
        "uncertain": _ascending(np.abs(scores - threshold), among=np.ones_like(right)),
    }
    picked: dict[str, list[int]] = {}
    for kind, places in order.items():
        taken = {place for others in picked.values() for place in others}
        first: dict[str, int] = {}
        for place in places:
            if place not in taken:
                first.setdefault(patients[place], place)
        picked[kind] = list(first.values())[:count]
    return picked


def _ascending(values: NDArray[np.floating], *, among: NDArray[np.bool_]) -> list[int]:
    return [int(place) for place in np.argsort(values, kind="stable") if among[place]]
