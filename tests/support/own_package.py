"""A package with backbones, as a user of the pipeline writes and installs it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

NETS = """
import keras

from knet.models.backbones import Backbone


@keras.saving.register_keras_serializable("mynets")
class Sharpen(keras.layers.Layer):
    def call(self, feature_map):
        return keras.ops.relu(feature_map - 0.1)


def build(**settings):
    model = keras.applications.MobileNetV2(alpha=0.35, **settings)
    return keras.Model(model.input, Sharpen(name="sharpen")(model.output))


def scale(pixels):
    mean, variance = (123.7, 116.3, 103.5), (3409.0, 3262.0, 3291.0)
    return keras.layers.Normalization(mean=mean, variance=variance, dtype="float32")(pixels)


DENSENET121 = Backbone(
    build=keras.applications.DenseNet121,
    scale=scale,
    layer_pattern=r"(conv\\d_block\\d+|pool\\d)_",
)


INVERTED = Backbone(build=build, layer_pattern=r"(block_\\d+)_")


def classifier(**settings):
    return keras.applications.MobileNetV2(alpha=0.35, pooling="avg", **settings)


def fails(**settings):
    raise RuntimeError("out of ideas")


def nothing(**settings):
    return None


NO_BLOCKS = Backbone(build=build, layer_pattern="stage")
NUMBER = 3
"""


@pytest.fixture
def own_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a package `mynets` on the path, whose module `nets` has backbones."""
    folder = tmp_path / "site-packages" / "mynets"
    folder.mkdir(parents=True)
    (folder / "__init__.py").touch()
    (folder / "nets.py").write_text(NETS, "utf-8")
    (folder / "broken.py").write_text("1 / 0", "utf-8")
    monkeypatch.syspath_prepend(folder.parent)
    yield folder
    for name in [name for name in sys.modules if name.partition(".")[0] == "mynets"]:
        del sys.modules[name]
