"""The graph measures what ingestion measures."""

from __future__ import annotations

import numpy as np
import pytest

from knet.base import schema_names
from knet.base.image_scalars import image_scalars
from knet.models.images import GlobalContrastNormalization, laplacian_variance, tissue_fraction


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
def test_image_measurements_equal_those_of_ingestion(pixels: np.ndarray) -> None:
    scalars = image_scalars(pixels)
    assert float(tissue_fraction(pixels)) == pytest.approx(scalars[schema_names.TISSUE_FRACTION], abs=1e-6)
    assert float(laplacian_variance(pixels)) == pytest.approx(
        scalars[schema_names.LAPLACIAN], rel=1e-5, abs=1e-6
    )


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 9, 3), (2, 9, 3)])
def test_laplacian_variance_of_a_tiny_image_is_0(shape: tuple[int, ...]) -> None:
    assert float(laplacian_variance(np.full(shape, 7, "uint8"))) == 0


def test_contrast_normalization_has_mean_0_and_deviation_1() -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (3, 8, 8, 3)).astype("float32")
    normalised = np.asarray(GlobalContrastNormalization()(pixels))
    np.testing.assert_allclose(normalised.mean(axis=(1, 2, 3)), 0, atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=(1, 2, 3)), 1, atol=1e-4)


def test_contrast_normalization_of_a_constant_image_is_0() -> None:
    pixels = np.full((1, 4, 4, 3), 200, dtype="float32")
    np.testing.assert_array_equal(GlobalContrastNormalization()(pixels), 0)
