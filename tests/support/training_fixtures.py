"""Transformed examples and a backbone that are small enough to train on in a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from knet.base import schema_names
from knet.base.image_scalars import image_scalars
from knet.models.backbones import BACKBONES, Backbone
from knet.models.hybrid import build_hybrid_model

WriteSplit = Callable[..., str]


@pytest.fixture(scope="session")
def write_transformed(tmp_path_factory: pytest.TempPathFactory) -> WriteSplit:
    """Writes images as Transform does, and returns the pattern of their files."""

    def write(pixels: np.ndarray, labels: list[int], patients: Sequence[str] = ()) -> str:
        folder = tmp_path_factory.mktemp("Split")
        statistics = {
            schema_names.PIXEL_MEAN: pixels.mean(axis=(0, 1, 2)),
            schema_names.PIXEL_STD: pixels.std(axis=(0, 1, 2)),
        }
        path = folder / "transformed_examples-00000-of-00001.gz"
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
                example = tf.train.Example()
                feature = example.features.feature
                feature[schema_names.PIXELS].bytes_list.value.append(tf.io.serialize_tensor(image).numpy())
                feature[schema_names.LABEL].int64_list.value.append(label)
                feature[schema_names.PATH].bytes_list.value.append(f"images/{number}.png".encode())
                for name, value in image_scalars(image).items():
                    if name in (schema_names.TISSUE_FRACTION, schema_names.LAPLACIAN):
                        feature[name].float_list.value.append(value)
                patient = patients[number] if patients else f"patient-{number}"
                feature[schema_names.PATIENT].bytes_list.value.append(patient.encode())
                for name, values in statistics.items():
                    feature[name].float_list.value.extend(values)
                writer.write(example.SerializeToString())
        return str(Path(folder) / "*")

    return write


def _build_tiny(*, include_top: bool, weights: str | None, input_shape: tuple[int, ...]) -> keras.Model:
    x = inputs = keras.Input(input_shape)
    for block in (1, 2):
        x = layers.Conv2D(4, 3, strides=4, padding="same", name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_bn")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    model = keras.Model(inputs, x)
    if weights:
        model.load_weights(weights)
    return model


THREE_VIEWS = "training.augmentation=[original,flip_horizontal,flip_vertical]"

# Backbone of two blocks.
TINY = Backbone(
    build=_build_tiny,
    scale=BACKBONES["mobilenet"].scale,
    grid=lambda size: size // 16,
    layer_pattern=r"(block\d)_",
    block_name=r"\1",
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backbone of two blocks, block1 and block2, that is registered for the test."""
    monkeypatch.setitem(BACKBONES, "tiny", TINY)
    return "tiny"


@pytest.fixture(scope="module")
def tiny_mobilenet() -> Iterator[None]:
    """Replace MobileNet by a backbone of two blocks, for the tests of a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(BACKBONES, "mobilenet", TINY)
        yield


@pytest.fixture(scope="session")
def tiny_hybrid() -> Callable[[int], keras.Model]:
    """Builds the hybrid on it, for images of so many pixels a side; vectors have 8 units."""

    def build(size: int) -> keras.Model:
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(BACKBONES, "tiny", TINY)
            return build_hybrid(
                "tiny",
                size=size,
                sequence_length=(size // 16) ** 2,
                normalisation="image",
                lstm_units=4,
                dense_units=8,
            )

    return build


def build_hybrid(backbone: str, **settings: Any) -> keras.Model:
    """Build a small hybrid model with random weights, always the same ones.

    Args:
        backbone: one of `BACKBONES`.
        settings: arguments of `build_hybrid_model` that differ from the small ones.
    """
    small: dict[str, Any] = {
        "candidate": backbone.rpartition(":")[2],
        "size": 32,
        "classes": 2,
        "sequence_length": 4,
        "weights": None,
        "alpha": 0.25 if backbone == "mobilenet" else None,
        "normalisation": "backbone",
        "pixel_mean": (180, 140, 190),
        "pixel_std": (30, 40, 30),
        "lstm_units": 5,
        "dense_units": 7,
        "dropout": 0.5,
        "batch_norm_momentum": 0.9,
        "variant": "parallel",
        "synchronized": False,
    }
    keras.utils.set_random_seed(0)
    return build_hybrid_model(backbone, **{**small, **settings})
