"""Operations of a model, against hand counts and the literature."""

from __future__ import annotations

import keras
import pytest
from keras import layers

from pipeline.models.count_flops import count_flops


def test_a_small_model_is_counted_as_by_hand() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", strides=2)(inputs)  # 4 * 4 places, 3 * 3 * 3 * 4 weights
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 4 * 4 places, 3 * 3 * 4 weights
    x = layers.BatchNormalization()(x)
    x = layers.Reshape((16, 4))(x)
    x = layers.LSTM(5)(x)  # 16 tokens, (4 + 5) * 4 * 5 weights
    outputs = layers.Dense(2)(x)  # 5 * 2
    assert count_flops(keras.Model(inputs, outputs)) == 2 * (16 * 108 + 16 * 36 + 16 * 180 + 10)


def test_models_in_a_model_are_counted() -> None:
    inner_inputs = keras.Input((6,))
    inner = keras.Model(inner_inputs, layers.Dense(3)(inner_inputs))
    inputs = keras.Input((6,))
    assert count_flops(keras.Model(inputs, inner(inputs))) == 2 * 18


def test_mobilenet_has_what_its_paper_says() -> None:
    """Howard et al. (2017), table 8: 569 million multiply-adds at 224 px, 1.024 of them its classifier's."""
    model = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(224, 224, 3))
    assert count_flops(model) / 2 == pytest.approx(569e6 - 1.024e6, rel=2e-3)
