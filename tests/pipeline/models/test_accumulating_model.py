"""One update from micro-batches is the update from the whole batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from pipeline.models.accumulating_model import AccumulatingModel

COUNT, EPOCHS = 22, 3  # at 8 a batch: two whole ones and a short one


def build(model_class: type[keras.Model] = AccumulatingModel, *, normalisation: str = "frozen") -> Any:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((6, 6, 3))
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(4, 3)(x)
    if normalisation != "none":
        x = layers.BatchNormalization(trainable=normalisation == "learning", name="normalisation")(x)
    x = layers.GlobalAveragePooling2D()(x)
    return model_class(inputs, layers.Dense(2, activation="softmax")(x))


@pytest.fixture(scope="module")
def batches() -> tf.data.Dataset:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (COUNT, 6, 6, 3), dtype="uint8")
    labels = rng.integers(0, 2, COUNT)
    return tf.data.Dataset.from_tensor_slices((pixels, labels)).batch(8)


def train(model: Any, batches: tf.data.Dataset, *, jit_compile: bool = False, **settings: Any) -> Any:
    model.compile(
        optimizer=keras.optimizers.SGD(0.1, momentum=0.9),
        loss="sparse_categorical_crossentropy",
        weighted_metrics=["accuracy"],
        jit_compile=jit_compile,
    )
    return model.fit(batches, epochs=EPOCHS, verbose=0, **settings).history


def assert_equal(model: Any, other: Any) -> None:
    for own, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("micro_batch", "class_weight"), [(None, None), (1, None), (3, None), (100, None), (3, {0: 0.5, 1: 2.0})]
)
def test_any_micro_batch_gives_the_large_batch_s_updates(
    batches: tf.data.Dataset, micro_batch: int | None, class_weight: dict[int, float] | None
) -> None:
    reference, model = build(keras.Model), build()
    expected = train(reference, batches, class_weight=class_weight)
    model.micro_batch = micro_batch
    history = train(model, batches, class_weight=class_weight)
    assert_equal(model, reference)
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-5)
    assert int(model.optimizer.iterations) == 3 * EPOCHS
    if class_weight is None:  # Keras weights its accuracy by class too
        np.testing.assert_allclose(history["accuracy"], expected["accuracy"], rtol=1e-6)


def test_compiled_by_xla_it_gives_the_same(batches: tf.data.Dataset) -> None:
    reference, model = build(), build()
    train(reference, batches)
    model.micro_batch = 3
    train(model, batches, jit_compile=True)
    assert_equal(model, reference)


def test_a_normalisation_that_learns_sees_micro_batches(batches: tf.data.Dataset) -> None:
    reference, model = build(normalisation="learning"), build(normalisation="learning")
    train(reference, batches)
    model.micro_batch = 4
    train(model, batches)
    difference = (
        model.get_layer("normalisation").moving_mean - reference.get_layer("normalisation").moving_mean
    )
    assert np.abs(difference).max() > 1e-3


def test_mixed_precision_learns_alike(batches: tf.data.Dataset) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")  # whose loss is scaled
    try:
        model = build()
    finally:
        keras.config.set_dtype_policy(before)
    reference = build()
    model.micro_batch = 3
    train(reference, batches)
    train(model, batches)
    assert int(model.optimizer.iterations) == 3 * EPOCHS
    for own, expected in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(own, expected, atol=0.02)


def test_it_survives_saving(batches: tf.data.Dataset, tmp_path: Any) -> None:
    model = build()
    train(model, batches)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(restored, model)
