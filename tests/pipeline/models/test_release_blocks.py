"""The topmost blocks learn; a frozen one keeps its normalisation's statistics, in training too."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from pipeline.models.backbones import BACKBONES, blocks_of
from pipeline.models.release_blocks import release_blocks


def build(tiny: str) -> keras.Model:
    return BACKBONES[tiny].build(include_top=False, weights=None, input_shape=(32, 32, 3))


@pytest.mark.parametrize(("count", "learning"), [(0, set()), (1, {"block2"}), (9, {"block1", "block2"})])
def test_only_the_topmost_blocks_learn(tiny: str, count: int, learning: set[str]) -> None:
    body = build(tiny)
    release_blocks(blocks_of(tiny, body), count)
    assert {variable.path.split("_")[0] for variable in body.trainable_variables} == learning


def test_a_frozen_normalisation_infers_while_others_train(tiny: str) -> None:
    body = build(tiny)
    release_blocks(blocks_of(tiny, body), 1)
    before = {layer.name: layer.get_weights() for layer in body.layers}
    pixels = np.random.default_rng(0).normal(5, 2, (4, 32, 32, 3)).astype("float32")
    frozen = keras.Model(body.input, body.get_layer("block1_relu").output)
    np.testing.assert_array_equal(frozen(pixels, training=True), frozen(pixels, training=False))
    body(pixels, training=True)
    for name, moves in (("block1_bn", False), ("block2_bn", True)):
        pairs = zip(before[name], body.get_layer(name).get_weights(), strict=True)
        assert any(np.any(old != new) for old, new in pairs) == moves


def test_a_block_can_be_released_again(tiny: str) -> None:
    body = build(tiny)
    release_blocks(blocks_of(tiny, body), 0)
    release_blocks(blocks_of(tiny, body), 2)
    assert len(body.trainable_variables) == 8
