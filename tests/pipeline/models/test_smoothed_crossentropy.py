"""The loss is the negative log-likelihood, and smoothing spreads the label."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.models.smoothed_crossentropy import SmoothedCrossentropy

LABELS = np.array([0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], "float32")


def test_without_smoothing_it_is_the_mean_negative_log_likelihood() -> None:
    expected = -np.log([0.9, 0.8, 0.3]).mean()
    np.testing.assert_allclose(SmoothedCrossentropy()(LABELS, PROBABILITIES), expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_smoothing_is_that_of_keras(smoothing: float) -> None:
    reference = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    loss = SmoothedCrossentropy(smoothing=smoothing)
    expected = reference(np.eye(2, dtype="float32")[LABELS], PROBABILITIES)
    np.testing.assert_allclose(loss(LABELS, PROBABILITIES), expected, rtol=1e-6)


def test_an_image_that_is_quite_wrong_still_teaches() -> None:
    head = keras.Sequential([keras.Input((2,)), keras.layers.Activation("softmax")])
    logits = tf.constant([[60.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = SmoothedCrossentropy()(np.array([1]), head(logits))
    np.testing.assert_allclose(tape.gradient(loss, logits), [[1, -1]], atol=1e-5)
