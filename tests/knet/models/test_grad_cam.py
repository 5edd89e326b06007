"""The heat map is Grad-CAM of a class's logit, and depends on the weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from knet.models.grad_cam import GradCam
from knet.models.hybrid import build_hybrid_head

ROWS, COLUMNS, CHANNELS = 3, 4, 5


def hybrid(variant: str, *, seed: int = 0) -> keras.Model:
    """As much of a hybrid as there is on its feature map."""
    keras.utils.set_random_seed(seed)
    head = build_hybrid_head(
        (ROWS, COLUMNS, CHANNELS),
        classes=2,
        variant=variant,
        sequence_length=16,
        lstm_units=4,
        dense_units=8,
        dropout=0.5,
        batch_norm_momentum=0.9,
        synchronized=False,
    )
    inputs = keras.Input((ROWS, COLUMNS, CHANNELS))
    return keras.Model(inputs, head(inputs))


@pytest.fixture(scope="module")
def feature_map() -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=(6, ROWS, COLUMNS, CHANNELS)), tf.float32)


def logits(model: keras.Model, feature_map: np.ndarray) -> np.ndarray:
    head = model.get_layer("head")
    to_logits = keras.Model(head.input, head.get_layer("logits").output)
    return keras.ops.convert_to_numpy(to_logits(feature_map, training=False))


@pytest.mark.parametrize("variant", ["parallel", "serial", "none"])
def test_grad_cam_equals_finite_differences(variant: str, feature_map: tf.Tensor) -> None:
    model, features, step = hybrid(variant), feature_map.numpy(), 1e-3
    called = np.array([0, 1] * (len(features) // 2))
    nudges = step * np.eye(ROWS * COLUMNS * CHANNELS, dtype="float32").reshape(-1, ROWS, COLUMNS, CHANNELS)
    nudged = [(features[:, None] + sign * nudges).reshape(-1, ROWS, COLUMNS, CHANNELS) for sign in (1, -1)]
    up, down = (logits(model, one).reshape(len(features), -1, 2) for one in nudged)
    of_called = ((up - down) / (2 * step))[np.arange(len(features)), :, called]
    gradient = of_called.reshape(features.shape)
    weights = gradient.mean(axis=(1, 2))
    heat = np.maximum(np.einsum("brcf,bf->brc", features, weights), 0)
    hottest = heat.max(axis=(1, 2), keepdims=True)
    expected = np.divide(heat, hottest, out=np.zeros_like(heat), where=hottest > 0)
    np.testing.assert_allclose(GradCam(model)(feature_map, called), expected, atol=0.01)


def test_grad_cam_is_scaled_to_one(feature_map: tf.Tensor) -> None:
    model = hybrid("parallel")
    heat = GradCam(model)(feature_map, logits(model, feature_map.numpy()).argmax(axis=1)).numpy()
    assert heat.shape == (6, ROWS, COLUMNS)
    assert heat.min() >= 0
    np.testing.assert_allclose(heat.max(axis=(1, 2)), 1, atol=1e-6)


def test_grad_cam_depends_on_the_weights(feature_map: tf.Tensor) -> None:
    models = [hybrid("parallel", seed=seed) for seed in (0, 1)]
    one, other = (GradCam(model)(feature_map, np.zeros(6, int)).numpy() for model in models)
    assert all(np.abs(a - b).max() > 0.1 for a, b in zip(one, other, strict=True))


def test_grad_cam_is_zero_without_positive_evidence(feature_map: tf.Tensor) -> None:
    assert GradCam(hybrid("none"))(tf.zeros_like(feature_map), np.ones(6, int)).numpy().max() == 0
