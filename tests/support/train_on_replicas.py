"""Trains one model on one and on two virtual CPU devices, and writes the differences as JSON.

A separate process, because virtual devices must be configured before TensorFlow's first operation.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import keras
import numpy as np
import tensorflow as tf
from training_fixtures import TINY

from knet.models.backbones import BACKBONES
from knet.training.devices import Devices, start_from_seed
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

os.environ["TF_USE_LEGACY_KERAS"] = "0"

_SETTINGS = (
    "tuning=null",
    "image.size=32",
    "candidates={mobilenet: {weights: none}}",
    "head.dropout=0",
    "training.batch_size=8",
)


def train(
    strategy: tf.distribute.Strategy,
    *,
    count: int,
    micro_batch: str,
    train_head_norm: bool,
    optimizer: str = "sgd",
) -> tuple[list[np.ndarray], dict[str, list[float]]]:
    """Return weights and history of two epochs with the backbone's statistics frozen.

    Args:
        strategy: of one or two devices.
        count: images.
        micro_batch: images that a device holds at once, or `null`.
        train_head_norm: whether the head's batch normalization is trainable.
        optimizer: `sgd` or `adamw`.
    """
    settings = load_config(
        "demo", [*_SETTINGS, f"training.micro_batch={micro_batch}", f"training.optimizer={optimizer}"]
    )
    start_from_seed(0)
    devices = Devices(strategy=strategy, precision="float32", xla=False, description="")
    model = candidate_from_config(settings, "mobilenet", synthetic_data=True).build(
        devices=devices,
        pixel_statistics=([128.0] * 3, [64.0] * 3),
        learning_rate=0.01,
        momentum=0.9,
        images=count,
    )
    for layer in model.get_layer("backbone").layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.trainable = False
    model.get_layer("head").get_layer("head_normalisation").trainable = train_head_norm
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 32, 32, 3), dtype="uint8")
    batches = tf.data.Dataset.from_tensor_slices((images, rng.integers(0, 2, count))).batch(8)
    history = model.fit(batches, epochs=2, verbose=0, class_weight={0: 0.5, 1: 1.5}).history
    return model.get_weights(), history


def main(output: Path) -> None:
    """Compare one device with two; write weight differences, losses and accuracies."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    replicas = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    found = {}
    cases: dict[str, dict[str, Any]] = {
        "whole": {"count": 20, "micro_batch": "null", "train_head_norm": True},
        # Replicas get 4 and 4, 4 and 4, 1 and 0 images.
        "micro": {"count": 17, "micro_batch": "3", "train_head_norm": False},
        "adamw": {"count": 17, "micro_batch": "3", "train_head_norm": False, "optimizer": "adamw"},
    }
    for name, settings in cases.items():
        one, history = train(tf.distribute.get_strategy(), **settings)
        two, other_history = train(replicas, **settings)
        found[name] = {
            "apart": max(float(np.abs(a - b).max()) for a, b in zip(one, two, strict=True)),
            "losses": [history["loss"], other_history["loss"]],
            "accuracies": [history["accuracy"], other_history["accuracy"]],
        }
    output.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    with mock.patch.dict(BACKBONES, mobilenet=TINY):
        main(Path(sys.argv[1]))
