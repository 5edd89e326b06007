"""One pass gives what the model and its parts give."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from pipeline.models.model_outputs import model_outputs


def test_logits_and_vectors_are_those_of_the_model_in_order(
    tiny_hybrid: Callable[[int], keras.Model],
) -> None:
    model = tiny_hybrid(32)
    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype="uint8")
    labels = np.arange(7) % 2
    batches = tf.data.Dataset.from_tensor_slices((pixels, labels)).batch(3)
    found = model_outputs(model, {"all": batches, "first": batches.take(1)})["all"]
    assert found.labels.tolist() == labels.tolist()
    own = model.predict(pixels, verbose=0)
    np.testing.assert_allclose(tf.nn.softmax(found.logits), own, atol=1e-6)
    assert found.vectors.shape == (7, 8)
    on_vectors = model.get_layer("head").get_layer("logits")(found.vectors)
    np.testing.assert_allclose(on_vectors, found.logits, atol=1e-5)
