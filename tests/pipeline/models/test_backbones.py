"""Every backbone of the registry passes through the same checks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from pipeline.models.backbones import BACKBONES, token_count


@pytest.mark.parametrize("name", BACKBONES)
class TestEveryBackbone:
    """What the rest of the product takes for granted."""

    @pytest.mark.parametrize("size", [32, 64, 100, 224, 227])
    def test_grid_is_that_of_its_last_feature_map(self, name: str, size: int) -> None:
        body = BACKBONES[name].build(include_top=False, weights=None, input_shape=(size, size, 3))
        _, rows, columns, _ = body.output_shape
        assert (rows, columns) == (BACKBONES[name].grid(size),) * 2
        assert token_count(name, size) == rows * columns

    def test_scaling_is_that_of_keras_applications(self, name: str) -> None:
        modules = {"mobilenet": keras.applications.mobilenet, "vgg16": keras.applications.vgg16}
        module = modules.get(name, keras.applications.resnet)
        pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(BACKBONES[name].scale(pixels)),
            module.preprocess_input(pixels.copy()),
            atol=1e-4,
        )
