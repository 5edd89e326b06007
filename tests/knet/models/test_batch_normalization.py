"""Fused batch normalization: Keras's results, gradients and file, in one operation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from training_fixtures import build_hybrid

from knet.models.batch_normalization import FusedBatchNormalization, fuse_batch_normalization

MAPS = np.random.default_rng(0).normal(3, 2, (5, 4, 3, 6)).astype("float32")


def normalization(dtype: str = "float32", **settings: Any) -> keras.Model:
    """A model of one batch normalization whose weights are not those that it starts with."""
    inputs = keras.Input((None, None, MAPS.shape[-1]))
    layer = layers.BatchNormalization(dtype=dtype, name="normalization", **settings)
    model = keras.Model(inputs, layer(inputs))
    draws = np.random.default_rng(1)
    model.set_weights([draws.uniform(0.5, 2, weight.shape) for weight in model.get_weights()])
    return model


def fused(model: keras.Model, momentum: float = 0.9) -> keras.Model:
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    fuse_batch_normalization(copy, momentum=momentum)
    assert isinstance(copy.layers[-1], FusedBatchNormalization)
    return copy


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("maps", [MAPS, MAPS[:1], MAPS[:1, :1, :1]], ids=["batch", "image", "pixel"])
@pytest.mark.parametrize(
    "settings", [{}, {"scale": False}, {"center": False}, {"epsilon": 1.001e-5}], ids=str
)
def test_fused_batch_normalization_equals_keras(
    training: bool, maps: np.ndarray, settings: dict[str, Any]
) -> None:
    whole = keras.Input((None, None, MAPS.shape[-1]))
    keras_model = keras.Model(whole, normalization(momentum=0.9, **settings).layers[-1](whole))
    ours = fused(keras_model)
    for model in (keras_model, ours):
        model.outputs_seen = model(maps, training=training)
    np.testing.assert_allclose(ours.outputs_seen, keras_model.outputs_seen, rtol=1e-4, atol=1e-4)
    for ours_weight, keras_weight in zip(ours.get_weights(), keras_model.get_weights(), strict=True):
        np.testing.assert_allclose(ours_weight, keras_weight, rtol=1e-5)


@pytest.mark.parametrize("trainable", [True, False])
def test_fused_batch_normalization_gradients(trainable: bool) -> None:
    keras_model = normalization(momentum=0.9)
    ours = fused(keras_model)
    found = []
    for model in (keras_model, ours):
        model.layers[-1].trainable = trainable
        maps = tf.constant(MAPS)
        with tf.GradientTape() as tape:
            tape.watch(maps)
            loss = tf.reduce_sum(model(maps, training=True) ** 3)
        found.append(tape.gradient(loss, [maps, *model.trainable_variables]))
    for expected, actual in zip(*found, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
def test_fused_batch_normalization_in_mixed_precision(dtype: str) -> None:
    keras_model = normalization(dtype, momentum=0.9)
    ours = fused(keras_model)
    outputs = [model(MAPS, training=True) for model in (keras_model, ours)]
    assert outputs[0].dtype == outputs[1].dtype
    expected, actual = (tf.cast(output, tf.float32) for output in outputs)
    np.testing.assert_allclose(actual, expected, atol=0.05)
    for ours_weight, keras_weight in zip(ours.get_weights(), keras_model.get_weights(), strict=True):
        np.testing.assert_allclose(ours_weight, keras_weight, rtol=0.02)


def test_fused_batch_normalization_is_saved(tmp_path: Path) -> None:
    ours = fused(normalization())
    ours.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.layers[-1], FusedBatchNormalization)
    np.testing.assert_array_equal(loaded(MAPS), ours(MAPS))


def test_hybrid_model_has_one_operation_a_batch_normalization() -> None:
    model = build_hybrid("mobilenet")
    step = tf.function(lambda pixels: model(pixels, training=True))
    graph = step.get_concrete_function(tf.TensorSpec(model.input_shape)).graph.as_graph_def()
    backbone = model.get_layer("backbone").layers
    normalizations = [layer for layer in backbone if isinstance(layer, layers.BatchNormalization)]
    assert normalizations
    fused_operations = [node for node in graph.node if node.op == "FusedBatchNormV3"]
    assert len(fused_operations) == len(normalizations)
