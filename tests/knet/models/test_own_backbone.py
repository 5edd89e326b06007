"""Backbones by import path: a package that a user has installed."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from knet.base.errors import UserError
from knet.models.backbones import backbone_blocks, backbone_digest, build_backbone, find_backbone, token_count
from knet.models.fine_tuning import split_backbone

pytestmark = pytest.mark.usefixtures("own_package")
DENSENET121 = "mynets.nets:DENSENET121"


def test_blocks_of_densenet_are_its_units_and_transitions() -> None:
    model = build_backbone(DENSENET121, candidate="deep", size=32)
    blocks = backbone_blocks(DENSENET121, model)
    assert [block.name for block in blocks[:3]] == ["stem", "conv2_block1", "conv2_block2"]
    assert len(blocks) == 1 + 6 + 12 + 24 + 16 + 3
    assert [layer.name for layer in blocks[-1].layers[-2:]] == ["bn", "relu"]
    covered = [layer for block in blocks for layer in block.layers]
    assert covered == [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    images = np.random.default_rng(0).normal(size=(2, 32, 32, 3)).astype("float32")
    lower, upper = split_backbone(DENSENET121, model, trainable_blocks=20)
    np.testing.assert_allclose(upper(lower(images)), model(images), rtol=1e-5, atol=1e-6)


def test_token_count_is_read_from_the_built_model() -> None:
    assert [token_count("mynets.nets:build", size) for size in (32, 96)] == [1, 9]


def test_function_alone_is_one_block() -> None:
    model = build_backbone("mynets.nets:build", candidate="deep", size=32)
    (block,) = backbone_blocks("mynets.nets:build", model)
    assert block.name == "stem"


def test_backbone_may_be_one_of_keras() -> None:
    assert find_backbone("keras.applications:MobileNetV2").build is keras.applications.MobileNetV2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mynet.nets:build", "there is no module mynet for mynet.nets:build; install its package into"),
        ("mynets.net:build", "there is no module mynets.net for mynets.net:build; install its package"),
        ("mynets.broken:build", "the module mynets.broken cannot be imported (ZeroDivisionError("),
        ("mynets.nets:built", "the module mynets.nets has no built; name a Backbone, or a function that"),
        ("mynets.nets:NUMBER", "the module mynets.nets has neither a function nor a Backbone of the name N"),
        ("mynets.nets:fails", "mynets.nets:fails cannot be built for 32 px (out of ideas); see docs/"),
        ("mynets.nets:nothing", "mynets.nets:nothing returns NoneType; return a keras.Model"),
        ("mynets.nets:classifier", "mynets.nets:classifier returns (None, 1280); the output of a backbone"),
        ("mynets.nets:NO_BLOCKS", "the layer_pattern 'stage' of mynets.nets:NO_BLOCKS matches no layer"),
    ],
)
def test_unusable_backbone_is_an_error_in_one_line(name: str, reason: str) -> None:
    with pytest.raises(UserError) as caught:
        build_backbone(name, candidate="deep", size=32)
    assert str(caught.value).startswith(f"candidates.deep.backbone: {reason}")
    assert "\n" not in str(caught.value)


def test_weights_that_do_not_fit_name_their_field(tmp_path: Path) -> None:
    file = tmp_path / "other.weights.h5"
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(3)]).save_weights(file)
    with pytest.raises(UserError, match=r"^candidates\.deep\.weights: .* does not fit mynets\.nets:build"):
        build_backbone("mynets.nets:build", candidate="deep", size=32, weights=str(file))


def test_digest_changes_with_any_module_of_the_package(own_package: Path) -> None:
    before = backbone_digest(DENSENET121)
    assert before == backbone_digest("mynets.nets:build") and len(before) == 64
    (own_package / "layers.py").write_text("UNITS = 3\n", "utf-8")
    assert backbone_digest(DENSENET121) != before
    assert backbone_digest("vgg16") == ""
