"""Every backbone of the registry passes through the same checks."""

from __future__ import annotations

import re
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from knet.models.backbones import BACKBONES, backbone_blocks, token_count
from knet.models.settings import BackboneName

_TABLE = Path(__file__).resolve().parents[3] / "docs" / "fine-tuning.md"


def test_backbone_names_of_the_configuration_are_complete() -> None:
    assert set(typing.get_args(BackboneName)) == BACKBONES.keys()


def torch_scaling(pixels: np.ndarray) -> Any:
    """By the layers that Keras puts into its own EfficientNetV2B0."""
    model = keras.applications.EfficientNetV2B0(include_top=False, weights=None)
    for layer in model.layers[1:3]:
        assert isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization)
        pixels = layer(pixels)
    return pixels


SCALINGS: dict[str, Callable[[np.ndarray], Any]] = {
    "mobilenet": keras.applications.mobilenet.preprocess_input,
    "vgg16": keras.applications.vgg16.preprocess_input,
    "efficientnetv2b0": torch_scaling,
}


@pytest.mark.parametrize("name", BACKBONES)
class TestEveryBackbone:
    """What the rest of the product takes for granted."""

    @pytest.mark.slow
    def test_grid_equals_last_feature_map(self, name: str, built: Callable[[str], Any]) -> None:
        for size in (32, 64, 100, 224, 227):
            _, rows, columns, _ = built(name).body.compute_output_shape((1, size, size, 3))
            assert (rows, columns) == (token_count(name, size) ** 0.5,) * 2
            assert token_count(name, size) == rows * columns

    def test_scale_equals_keras_applications(self, name: str) -> None:
        reference = SCALINGS.get(name, keras.applications.resnet.preprocess_input)
        pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(BACKBONES[name].scale(pixels)), reference(pixels.copy()), atol=1e-4
        )

    def test_blocks_hold_every_layer_once(self, name: str, built: Callable[[str], Any]) -> None:
        body = built(name).body
        blocks = backbone_blocks(name, body)
        inside = [layer.name for block in blocks for layer in block.layers]
        assert sorted(inside) == sorted(layer.name for layer in body.layers[1:])
        assert [block.name for block in blocks].count("stem") == (name != "vgg16")
        assert all(block.name != "stem" for block in blocks[1:])

    def test_blocks_are_joined_by_single_tensors(self, name: str, built: Callable[[str], Any]) -> None:
        body = built(name).body
        entrance = body.input
        for block in backbone_blocks(name, body):
            allowed = {id(entrance), *(id(layer.output) for layer in block.layers)}
            for layer in block.layers:
                inputs = layer.input if isinstance(layer.input, list) else [layer.input]
                assert {id(tensor) for tensor in inputs} <= allowed
            entrance = block.layers[-1].output
        assert entrance is body.output

    def test_blocks_equal_the_documentation(self, name: str, built: Callable[[str], Any]) -> None:
        row = re.search(rf"^\| {name} \| (\d+) \| (.+?) \|$", _TABLE.read_text("utf-8"), re.M)
        assert row is not None
        blocks = backbone_blocks(name, built(name).body)
        assert int(row[1]) == len(blocks)
        assert list(_listed(row[2])) == [block.name for block in blocks]


def _listed(text: str) -> typing.Iterator[str]:
    """The names of a list in which `block1 … 3` stands for block1, block2 and block3."""
    for part in text.split(", "):
        span = re.fullmatch(r"(\w*?)(\d+) … (\d+)", part)
        if span:
            yield from (f"{span[1]}{number}" for number in range(int(span[2]), int(span[3]) + 1))
        else:
            yield part
