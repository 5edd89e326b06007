"""The heat map is Grad-CAM of the likelier class's logit, and depends on the weights."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.grad_cam import GradCam
from pipeline.models.hybrid_head import build_hybrid_head

ROWS, COLUMNS, CHANNELS = 3, 4, 5


def hybrid(variant: str, *, seed: int = 0) -> keras.Model:
    """As much of a hybrid as there is on its feature map."""
    keras.utils.set_random_seed(seed)
    head = build_hybrid_head(
        (ROWS, COLUMNS, CHANNELS),
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


def likelier_logit(model: keras.Model, feature_map: np.ndarray) -> np.ndarray:
    head = model.get_layer("head")
    logits = keras.Model(head.input, head.get_layer("logits").output)
    return keras.ops.convert_to_numpy(logits(feature_map, training=False)).max(axis=-1)


@pytest.mark.parametrize("variant", ["parallel", "serial", "none"])
def test_it_is_what_finite_differences_give(variant: str, feature_map: tf.Tensor) -> None:
    model, features, step = hybrid(variant), feature_map.numpy(), 1e-3
    nudges = step * np.eye(ROWS * COLUMNS * CHANNELS, dtype="float32").reshape(-1, ROWS, COLUMNS, CHANNELS)
    nudged = [(features[:, None] + sign * nudges).reshape(-1, ROWS, COLUMNS, CHANNELS) for sign in (1, -1)]
    up, down = (likelier_logit(model, one) for one in nudged)
    gradient = ((up - down) / (2 * step)).reshape(features.shape)
    weights = gradient.mean(axis=(1, 2))
    heat = np.maximum(np.einsum("brcf,bf->brc", features, weights), 0)
    expected = heat / heat.max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(GradCam(model)(feature_map), expected, atol=0.01)


def test_it_is_not_all_zero_and_at_most_one(feature_map: tf.Tensor) -> None:
    heat = GradCam(hybrid("parallel"))(feature_map).numpy()
    assert heat.shape == (6, ROWS, COLUMNS)
    assert heat.min() >= 0
    np.testing.assert_allclose(heat.max(axis=(1, 2)), 1, atol=1e-6)


def test_other_weights_look_elsewhere(feature_map: tf.Tensor) -> None:
    one, other = (GradCam(hybrid("parallel", seed=seed))(feature_map).numpy() for seed in (0, 1))
    assert all(np.abs(a - b).max() > 0.1 for a, b in zip(one, other, strict=True))


def test_where_nothing_speaks_for_the_class_it_is_zero(feature_map: tf.Tensor) -> None:
    assert GradCam(hybrid("none"))(tf.zeros_like(feature_map)).numpy().max() == 0
