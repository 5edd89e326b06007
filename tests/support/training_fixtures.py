"""Transformed examples and a backbone that are small enough to train on in a test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

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
def body_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MobileNet of alpha 0.25 at 32 px whose feature maps are of the size of a trained one's."""
    keras.utils.set_random_seed(0)
    body = keras.applications.MobileNet(alpha=0.25, include_top=False, weights=None, input_shape=(32, 32, 3))
    for layer in body.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # its statistics become those of this batch
    body(np.random.default_rng(0).uniform(-1, 1, (64, 32, 32, 3)).astype("float32"), training=True)
    file = tmp_path_factory.mktemp("weights") / "mobilenet.weights.h5"
    body.save_weights(file)
    return file


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


def _build_tiny(*, include_top: bool, weights: None, input_shape: tuple[int, ...]) -> keras.Model:
    x = inputs = keras.Input(input_shape)
    for block in (1, 2):
        x = layers.Conv2D(4, 3, strides=4, padding="same", name=f"block{block}_conv")(x)
        x = layers.BatchNormalization(name=f"block{block}_bn")(x)
        x = layers.ReLU(name=f"block{block}_relu")(x)
    return keras.Model(inputs, x)


_TINY = Backbone(
    build=_build_tiny,
    scale=BACKBONES["mobilenet"].scale,
    grid=lambda size: size // 16,
    layer_pattern=r"(block\d)_",
    block_name=r"\1",
    weights_url="",
    weights_md5=None,
)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a backbone of two blocks, block1 and block2, that is registered for the test."""
    monkeypatch.setitem(BACKBONES, "tiny", _TINY)
    return "tiny"


@pytest.fixture(scope="session")
def tiny_hybrid() -> Callable[[int], keras.Model]:
    """Builds the hybrid on it, for images of so many pixels a side; vectors have 8 units."""

    def build(size: int) -> keras.Model:
        keras.utils.set_random_seed(0)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(BACKBONES, "tiny", _TINY)
            return build_hybrid_model(
                "tiny",
                size=size,
                weights=None,
                alpha=None,
                normalisation="image",
                pixel_mean=(0, 0, 0),
                pixel_std=(1, 1, 1),
                batch_norm_momentum=0.9,
                variant="parallel",
                sequence_length=(size // 16) ** 2,
                lstm_units=4,
                dense_units=8,
                dropout=0.5,
                synchronized=False,
            )

    return build
