"""Transformed examples small enough to train on in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline import features

WriteSplit = Callable[..., str]


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
