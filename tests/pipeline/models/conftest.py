"""Backbones built once for all tests, and one that is small enough to train."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import pytest
from keras import layers

from pipeline.models.backbones import BACKBONES, Backbone


@dataclass(frozen=True)
class Built:
    """A backbone for any input size, with random weights, and the file that Keras would have taken."""

    body: keras.Model
    weights_url: str
    weights_md5: str | None


@pytest.fixture(scope="session")
def built() -> Callable[[str], Built]:
    """Builds a backbone by name, once."""

    @functools.cache
    def build(name: str) -> Built:
        asked: dict[str, Any] = {}

        def get_file(fname: str, origin: str, *, cache_subdir: str, file_hash: str | None = None) -> str:
            assert cache_subdir == "models"
            asked.update(url=origin, md5=file_hash)
            return fname

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("keras.src.utils.file_utils.get_file", get_file)
            patch.setattr(keras.Model, "load_weights", lambda *_: None)
            body = BACKBONES[name].build(include_top=False, weights="imagenet", input_shape=(None, None, 3))
        return Built(body, asked["url"], asked["md5"])

    return build


def _build_tiny(*, include_top: bool, weights: None, input_shape: tuple[int, ...]) -> keras.Model:
    x = inputs = keras.Input(input_shape)
    for block in (1, 2):
        x = layers.Conv2D(4, 3, strides=4, padding="same", name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_bn")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    return keras.Model(inputs, x)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backbone of two blocks, block1 and block2, that is registered for the test."""
    entry = Backbone(
        build=_build_tiny,
        scale=BACKBONES["mobilenet"].scale,
        grid=lambda size: size // 16,
        layer_pattern=r"(block\d)_",
        block_name=r"\1",
        weights_url="",
        weights_md5=None,
    )
    monkeypatch.setitem(BACKBONES, "tiny", entry)
    return "tiny"
