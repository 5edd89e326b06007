"""Every backbone of the registry passes through the same checks."""

from __future__ import annotations

import hashlib
import re
import typing
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from knet.base.errors import UserError
from knet.models.backbones import BACKBONES, backbone_blocks, imagenet_weights, token_count
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
            assert (rows, columns) == (BACKBONES[name].grid(size),) * 2
            assert token_count(name, size) == rows * columns

    def test_scale_equals_keras_applications(self, name: str) -> None:
        reference = SCALINGS.get(name, keras.applications.resnet.preprocess_input)
        pixels = np.random.default_rng(0).uniform(0, 255, (2, 4, 4, 3)).astype("float32")
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(BACKBONES[name].scale(pixels)), reference(pixels.copy()), atol=1e-4
        )

    def test_weights_url_and_hash_equal_keras_applications(
        self, name: str, built: Callable[[str], Any]
    ) -> None:
        entry = BACKBONES[name]
        assert entry.weights_url.format(alpha="1_0", rows=224) == built(name).weights_url
        assert entry.weights_md5 == built(name).weights_md5

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


CONTENT = b"weights"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keras's folder of weights, empty."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the weights of ResNet50 are fetched from: a path in place of the server, where nothing is yet."""
    file = tmp_path / "server" / "resnet50_notop.h5"
    file.parent.mkdir()
    entry = replace(
        BACKBONES["resnet50"], weights_url=file.as_uri(), weights_md5=hashlib.md5(CONTENT).hexdigest()
    )
    monkeypatch.setitem(BACKBONES, "resnet50", entry)
    return file


def find() -> Path:
    return imagenet_weights("resnet50", alpha=None, size=64)


def test_imagenet_weights_are_downloaded_once(published: Path, cache: Path) -> None:
    published.write_bytes(CONTENT)
    assert find() == cache / published.name
    published.unlink()
    assert find().read_bytes() == CONTENT


def test_imagenet_weights_error_names_url_hash_and_folder(published: Path, cache: Path) -> None:
    with pytest.raises(UserError) as caught:
        find()
    md5 = hashlib.md5(CONTENT).hexdigest()
    for told in (
        "candidates.resnet50.weights",
        published.name,
        published.as_uri(),
        f"{cache},",
        f"md5 {md5}",
    ):
        assert told in str(caught.value), told


def test_imagenet_weights_refuse_a_download_with_another_hash(published: Path, cache: Path) -> None:
    published.write_bytes(b"another")
    with pytest.raises(UserError, match="cannot be fetched"):
        find()


def test_imagenet_weights_refuse_a_cached_file_with_another_hash(published: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / published.name).write_bytes(b"broken")
    with pytest.raises(UserError, match=r"resnet50_notop\.h5 differs from the file published .* remove it"):
        find()


@pytest.mark.parametrize(
    ("alpha", "size", "name"),
    [
        (None, 227, "mobilenet_1_0_224_tf_no_top.h5"),
        (1.0, 128, "mobilenet_1_0_128_tf_no_top.h5"),
        (0.25, 64, "mobilenet_2_5_224_tf_no_top.h5"),
    ],
)
def test_imagenet_weights_of_mobilenet_by_alpha_and_size(
    alpha: float | None, size: int, name: str, cache: Path
) -> None:
    cache.mkdir(parents=True)
    (cache / name).write_bytes(CONTENT)
    assert imagenet_weights("mobilenet", alpha=alpha, size=size).name == name


def test_imagenet_weights_refuse_an_unpublished_alpha() -> None:
    with pytest.raises(
        UserError, match=r"mobilenet\.alpha: there are ImageNet weights for 0\.25, .* not for 0\.3"
    ):
        imagenet_weights("mobilenet", alpha=0.3, size=224)
