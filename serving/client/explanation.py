"""Where the served model looked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Explanation:
    """What speaks for the label of one image, and where.

    `heat_map` holds rows of values from 0 to 1 over the whole image, as many as the last feature map has; all
    are 0 where nothing speaks for it. `label`, `score` and `model_version` are as a `Prediction` has them.
    """

    label: str
    score: float
    heat_map: tuple[tuple[float, ...], ...]
    model_version: int
