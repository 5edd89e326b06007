"""Backbones built once for all tests."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import pytest
from own_package import own_package
from training_fixtures import tiny, tiny_hybrid, write_transformed

from knet.models.backbones import BACKBONES


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
