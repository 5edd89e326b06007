"""The graph measures what ingestion measures."""

from __future__ import annotations

import numpy as np
import pytest

from components.breakhis_example_gen.image_scalars import image_scalars
from pipeline import features
from pipeline.models.measure_pixels import laplacian_variance, tissue_fraction


def images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.arange(256, dtype="uint8")[None, :, None], (9, 1, 3))  # every green value
    return [
        rng.integers(0, 256, (60, 91, 3), dtype="uint8"),
        rng.integers(120, 200, (3, 3, 3), dtype="uint8"),
        ramp,
        np.zeros((5, 4, 3), "uint8"),
        np.full((5, 4, 3), 255, "uint8"),
    ]


@pytest.mark.parametrize("pixels", images(), ids=["noise", "smallest", "ramp", "black", "white"])
def test_it_is_what_stands_in_the_examples(pixels: np.ndarray) -> None:
    scalars = image_scalars(pixels)
    assert float(tissue_fraction(pixels)) == pytest.approx(scalars[features.TISSUE_FRACTION], abs=1e-6)
    assert float(laplacian_variance(pixels)) == pytest.approx(scalars[features.LAPLACIAN], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (2, 9, 3)])
def test_images_too_small_for_a_laplacian_have_none(shape: tuple[int, ...]) -> None:
    assert float(laplacian_variance(np.full(shape, 7, "uint8"))) == 0
