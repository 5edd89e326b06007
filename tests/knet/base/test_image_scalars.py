"""Image scalars against values computed by hand."""

from __future__ import annotations

import io
import math
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from knet.base import schema_names
from knet.base.image_scalars import STAINS, image_scalars


def one_colour(*colour: int) -> np.ndarray:
    return np.full((8, 10, 3), colour, np.uint8)


def stained(haematoxylin: float, eosin: float) -> np.ndarray:
    """Return an image of a stain mixture, by the Beer-Lambert law with white light."""
    unit = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    density = haematoxylin * unit[0] + eosin * unit[1]
    return one_colour(*np.round(255 * 10**-density).astype(int))


def test_image_scalars_have_all_names_in_order() -> None:
    scalars = image_scalars(one_colour(1, 2, 3))
    assert tuple(scalars) == schema_names.IMAGE_SCALARS
    assert all(isinstance(value, float) for value in scalars.values())


def test_image_scalars_of_white_are_zero_but_means() -> None:
    scalars = image_scalars(one_colour(255, 255, 255))
    assert scalars == {
        **dict.fromkeys(schema_names.IMAGE_SCALARS, pytest.approx(0, abs=1e-9)),
        "image/mean_red": 255,
        "image/mean_green": 255,
        "image/mean_blue": 255,
    }


def test_means_and_deviations_of_two_colours() -> None:
    pixels = one_colour(10, 20, 30)
    pixels[:4] = (110, 20, 90)  # half of them
    scalars = image_scalars(pixels)
    assert [scalars[f"image/mean_{c}"] for c in ("red", "green", "blue")] == pytest.approx([60, 20, 60])
    assert [scalars[f"image/std_{c}"] for c in ("red", "green", "blue")] == pytest.approx([50, 0, 30])


def test_means_and_deviations_equal_numpy() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (46, 70, 3), dtype=np.uint8)
    scalars = list(image_scalars(pixels).values())
    np.testing.assert_allclose(scalars[:3], pixels.mean(axis=(0, 1)), rtol=1e-12)
    np.testing.assert_allclose(scalars[3:6], pixels.std(axis=(0, 1)), rtol=1e-12)


@pytest.mark.parametrize(("haematoxylin", "eosin"), [(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.3, 0.2)])
def test_stains_are_unmixed(haematoxylin: float, eosin: float) -> None:
    scalars = image_scalars(stained(haematoxylin, eosin))
    # The tolerance is the error of 8 bits.
    assert scalars["image/hematoxylin"] == pytest.approx(haematoxylin, abs=0.01)
    assert scalars["image/eosin"] == pytest.approx(eosin, abs=0.01)


def test_unmixing_equals_published_inverse() -> None:
    # As Ruifrok & Johnston print it, to two digits; a pixel of density 1 in red alone, 0.5 in green alone.
    red, green = one_colour(26, 255, 255), one_colour(255, 81, 255)
    assert image_scalars(red)["image/hematoxylin"] == pytest.approx(1.88, abs=0.03)
    assert image_scalars(red)["image/eosin"] == pytest.approx(-1.02, abs=0.03)
    assert image_scalars(green)["image/hematoxylin"] == pytest.approx(-0.07 / 2, abs=0.03)
    assert image_scalars(green)["image/eosin"] == pytest.approx(1.13 / 2, abs=0.03)


def test_stain_is_mean_over_pixels() -> None:
    pixels = stained(0.4, 0.0)
    pixels[:4] = 255
    assert image_scalars(pixels)["image/hematoxylin"] == pytest.approx(0.2, abs=0.01)


def test_tissue_fraction_counts_dark_green_pixels() -> None:
    threshold = 255 * 10**-0.15  # 180.5
    pixels = one_colour(255, math.ceil(threshold), 255)
    pixels[:2] = (255, math.floor(threshold), 255)  # a quarter of them
    assert image_scalars(pixels)["image/tissue_fraction"] == pytest.approx(0.25)


def test_laplacian_variance_of_one_bright_pixel() -> None:
    pixels = one_colour(0, 0, 0)
    pixels[3, 4] = 100
    # Inside the edge are 6 x 8 values: -400 once, 100 four times, 0 elsewhere.
    mean = 0.0
    variance = (400**2 + 4 * 100**2) / 48 - mean**2
    assert image_scalars(pixels)["image/laplacian"] == pytest.approx(variance, rel=1e-5)


def test_laplacian_variance_of_slope_is_zero() -> None:
    slope = np.arange(10, dtype=np.uint8)[None, :, None] * np.full((8, 1, 3), 5, np.uint8)
    assert image_scalars(slope)["image/laplacian"] == pytest.approx(0, abs=1e-6)


def test_laplacian_variance_is_lower_if_blurred() -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (46, 70, 3), dtype=np.uint8)
    blurred = ((sharp[1:].astype(int) + sharp[:-1]) // 2).astype(np.uint8)
    assert image_scalars(blurred)["image/laplacian"] < image_scalars(sharp)["image/laplacian"] / 2


def test_image_scalars_cost_less_than_five_decodings() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (460, 700, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")

    def seconds(run: Callable[[], object]) -> float:
        started = time.process_time()
        run()
        return time.process_time() - started

    decoding = min(seconds(lambda: np.asarray(Image.open(file))) for _ in range(5))
    assert min(seconds(lambda: image_scalars(pixels)) for _ in range(5)) < 5 * decoding
