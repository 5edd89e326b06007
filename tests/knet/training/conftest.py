"""A split of a few images, and a frozen model that is quick to compute."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
from own_package import own_package
from training_fixtures import tiny_mobilenet, write_transformed

from knet.training.dataset import TransformedSplit

COUNT, SIZE = 5, 8


@pytest.fixture(scope="session")
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, SIZE, SIZE, 3), dtype="uint8")


@pytest.fixture(scope="session")
def split(pixels: np.ndarray, write_transformed: Callable[..., str]) -> TransformedSplit:
    labels = [index % 2 for index in range(COUNT)]
    return TransformedSplit(
        [write_transformed(pixels, labels)], size=SIZE, offline_augmentations=("original", "flip_horizontal")
    )


@pytest.fixture
def make_frozen() -> Callable[..., keras.Model]:
    """Return a function that builds a constant convolution, from pixels to a feature map [4, 4, 2]."""

    def make(scale: float = 0.01, **settings: object) -> keras.Model:
        pixels = keras.Input((SIZE, SIZE, 3), name="pixels", dtype="float32")
        initializer = keras.initializers.Constant(scale)
        layer = keras.layers.Conv2D(2, 2, 2, kernel_initializer=initializer, name="conv", **settings)
        return keras.Model(pixels, layer(pixels), name="frozen")

    return make
