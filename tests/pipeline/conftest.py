"""Transformed examples small enough to train on in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline import features

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

    def write(pixels: np.ndarray, labels: list[int]) -> str:
        folder = tmp_path_factory.mktemp("Split")
        statistics = {
            features.PIXEL_MEAN: pixels.mean(axis=(0, 1, 2)),
            features.PIXEL_STD: pixels.std(axis=(0, 1, 2)),
        }
        path = folder / "transformed_examples-00000-of-00001.gz"
        with tf.io.TFRecordWriter(str(path), options="GZIP") as writer:
            for number, (image, label) in enumerate(zip(pixels, labels, strict=True)):
                example = tf.train.Example()
                feature = example.features.feature
                feature[features.PIXELS].bytes_list.value.append(tf.io.serialize_tensor(image).numpy())
                feature[features.LABEL].int64_list.value.append(label)
                feature[features.PATH].bytes_list.value.append(f"images/{number}.png".encode())
                for name, values in statistics.items():
                    feature[name].float_list.value.extend(values)
                writer.write(example.SerializeToString())
        return str(Path(folder) / "*")

    return write
