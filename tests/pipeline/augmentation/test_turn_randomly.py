"""All four turns come up, and nothing else."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pipeline.augmentation.turn_randomly import turn_randomly


def test_every_quarter_turn_is_about_as_likely() -> None:
    pixels = np.arange(12, dtype="uint8").reshape(2, 2, 3)
    turns = [np.rot90(pixels, quarters).tobytes() for quarters in range(4)]
    found = Counter(turn_randomly(pixels, seed=(7, number)).numpy().tobytes() for number in range(200))
    assert found.keys() == set(turns)
    assert min(found.values()) > 25
