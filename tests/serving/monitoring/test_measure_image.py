"""Served images are measured as training images were."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from components.breakhis_example_gen.example import make_example
from components.breakhis_example_gen.image_file import ImageFile
from pipeline import features
from serving.messages import Example
from serving.monitoring.measure_image import measure_image


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_values_are_those_of_the_ingested_example(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    ingested = make_example(
        ImageFile("a.png", "benign", "14-1"),
        buffer.getvalue(),
        split="train",
        classes=("benign", "malignant"),
    )
    example = Example.FromString(ingested.record).features.feature
    measured = measure_image(buffer.getvalue())
    assert measured.unusable is None
    assert set(measured.values) == {features.WIDTH, features.HEIGHT, *features.IMAGE_SCALARS}
    for name, value in measured.values.items():
        stored = example[name]
        assert np.float32(value) == (stored.float_list.value or stored.int64_list.value)[0]


def test_what_ingestion_refuses_is_not_measured(picture: Callable[..., bytes]) -> None:
    assert measure_image(picture("L")).unusable == "not 8-bit RGB but grey"
    assert measure_image(b"no image").values == {}
