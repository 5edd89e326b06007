"""The two parts of a backbone, one after the other, are the backbone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pipeline.models.backbones import blocks_of
from pipeline.models.split_backbone import split_backbone


@pytest.mark.parametrize("name", ["mobilenet", "resnet50", "efficientnetv2b0"])
@pytest.mark.parametrize("upper_blocks", [0, 2])
def test_the_parts_compose_to_the_whole(name: str, upper_blocks: int, built: Callable[[str], Any]) -> None:
    body = built(name).body
    lower, upper = split_backbone(name, body, upper_blocks=upper_blocks)
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(upper(lower(pixels)), body(pixels), atol=1e-6)
    weights = {id(variable) for variable in upper.weights}
    above = blocks_of(name, body)[len(blocks_of(name, body)) - upper_blocks :]
    assert weights == {
        id(variable) for block in above for layer in block.layers for variable in layer.weights
    }


def test_training_the_upper_part_trains_the_backbone(built: Callable[[str], Any]) -> None:
    body = built("mobilenet").body
    _, upper = split_backbone("mobilenet", body, upper_blocks=1)
    assert {id(variable) for variable in upper.weights} < {id(variable) for variable in body.weights}
