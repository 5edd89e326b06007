"""Weights come from Keras's cache or are fetched into it; what is missing is named before any training."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.models.backbones import BACKBONES
from pipeline.models.imagenet_weights import imagenet_weights

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


def test_missing_weights_are_fetched_once(published: Path, cache: Path) -> None:
    published.write_bytes(CONTENT)
    assert find() == cache / published.name
    published.unlink()
    assert find().read_bytes() == CONTENT


def test_weights_that_cannot_be_fetched_are_named_with_origin_hash_and_place(
    published: Path, cache: Path
) -> None:
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


def test_a_fetched_file_with_another_hash_is_refused(published: Path, cache: Path) -> None:
    published.write_bytes(b"another")
    with pytest.raises(UserError, match="cannot be fetched"):
        find()


def test_a_cached_file_with_another_hash_is_refused(published: Path, cache: Path) -> None:
    cache.mkdir(parents=True)
    (cache / published.name).write_bytes(b"broken")
    with pytest.raises(UserError, match=r"resnet50_notop\.h5 is not what is published .* remove it"):
        find()


@pytest.mark.parametrize(
    ("alpha", "size", "name"),
    [
        (None, 227, "mobilenet_1_0_224_tf_no_top.h5"),
        (1.0, 128, "mobilenet_1_0_128_tf_no_top.h5"),
        (0.25, 64, "mobilenet_2_5_224_tf_no_top.h5"),
    ],
)
def test_mobilenet_has_a_file_for_each_width_and_size(
    alpha: float | None, size: int, name: str, cache: Path
) -> None:
    cache.mkdir(parents=True)
    (cache / name).write_bytes(CONTENT)
    assert imagenet_weights("mobilenet", alpha=alpha, size=size).name == name


def test_a_width_without_published_weights_is_refused() -> None:
    with pytest.raises(
        UserError, match=r"mobilenet\.alpha: there are ImageNet weights for 0\.25, .* not for 0\.3"
    ):
        imagenet_weights("mobilenet", alpha=0.3, size=224)
