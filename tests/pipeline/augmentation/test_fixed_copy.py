"""Every kind of copy is what its name says."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from pipeline.augmentation.fixed_copy import fixed_copy
from pipeline.config import FixedCopy

NAMED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "original": lambda pixels: pixels,
    "flip_horizontal": np.fliplr,
    "flip_vertical": np.flipud,
    "rotate_90": np.rot90,
    "rotate_180": lambda pixels: np.rot90(pixels, 2),
    "rotate_270": lambda pixels: np.rot90(pixels, 3),
}


@pytest.mark.parametrize("kind", get_args(FixedCopy))
def test_a_copy_is_what_its_kind_says(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 5, 3), dtype="uint8")
    copy = fixed_copy(pixels, 1, kinds=("original", kind))
    np.testing.assert_array_equal(copy, NAMED[kind](pixels))
