"""The hybrid model: shapes, padding, normalisation and what learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from training_fixtures import build_hybrid

from knet.base.errors import UserError
from knet.models.backbones import BACKBONES
from knet.models.hybrid import RasterTokens, build_hybrid_head, count_flops

SIZE = 32


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (3, SIZE, SIZE, 3)).astype("float32")


@pytest.mark.slow
@pytest.mark.parametrize("backbone", BACKBONES)
def test_build_hybrid_model_of_every_backbone(backbone: str, pixels: np.ndarray) -> None:
    probabilities = build_hybrid(backbone)(pixels)
    assert probabilities.shape == (3, 2)
    np.testing.assert_allclose(np.sum(probabilities, axis=1), 1, atol=1e-5)


def test_hybrid_model_ignores_padding(pixels: np.ndarray) -> None:
    short, long = build_hybrid("mobilenet", sequence_length=1), build_hybrid("mobilenet", sequence_length=64)
    long.set_weights(short.get_weights())
    np.testing.assert_allclose(short(pixels), long(pixels), atol=1e-6)


def test_hybrid_model_composes_backbone_and_head(pixels: np.ndarray) -> None:
    model = build_hybrid("mobilenet", normalisation="backbone")
    body, head = model.get_layer("backbone"), model.get_layer("head")
    scaled = BACKBONES["mobilenet"].scale(pixels)
    np.testing.assert_allclose(head(body(scaled)), model(pixels), atol=1e-6)


def test_hybrid_model_accepts_uint8(pixels: np.ndarray) -> None:
    model = build_hybrid("mobilenet")
    whole = pixels.astype("uint8")
    np.testing.assert_array_equal(model(whole), model(whole.astype("float32")))


@pytest.mark.parametrize("normalisation", ["image", "backbone", "dataset"])
def test_hybrid_model_is_saved_with_every_normalization(
    normalisation: str, pixels: np.ndarray, tmp_path: Path
) -> None:
    model = build_hybrid("mobilenet", normalisation=normalisation)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(restored(pixels), model(pixels), atol=1e-6)


def test_dataset_normalization_subtracts_the_mean() -> None:
    mean = np.broadcast_to(np.array([180, 140, 190], "float32"), (1, SIZE, SIZE, 3))
    model = build_hybrid("mobilenet", normalisation="dataset")
    scaled = keras.Model(model.input, model.layers[1].output)(mean)
    np.testing.assert_allclose(scaled, 0, atol=1e-4)


def test_build_hybrid_model_loads_a_weights_file(shared_data: Path) -> None:
    file = shared_data / "weights" / "mobilenet_2_5_224_tf_no_top.h5"
    body = build_hybrid("mobilenet", weights=str(file)).get_layer("backbone")
    expected = keras.applications.MobileNet(
        alpha=0.25, include_top=False, weights=file, input_shape=(224, 224, 3)
    )
    for own, other in zip(body.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_array_equal(own, other)


def test_build_hybrid_model_refuses_weights_of_another_backbone(shared_data: Path) -> None:
    file = shared_data / "weights" / "mobilenet_7_5_224_tf_no_top.h5"
    with pytest.raises(UserError, match="does not fit mobilenet"):
        build_hybrid("mobilenet", weights=str(file))


ROWS, COLUMNS, CHANNELS, UNITS = 2, 3, 5, 4


def build_head(variant: str = "parallel", *, sequence_length: int = 9) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_hybrid_head(
        (ROWS, COLUMNS, CHANNELS),
        classes=2,
        variant=variant,
        sequence_length=sequence_length,
        lstm_units=UNITS,
        dense_units=6,
        dropout=0.5,
        batch_norm_momentum=0.9,
        synchronized=False,
    )


@pytest.fixture
def feature_map() -> np.ndarray:
    feature_map = np.random.default_rng(0).normal(size=(3, ROWS, COLUMNS, CHANNELS)).astype("float32")
    feature_map[0, 1] = 0  # genuine tokens, as a ReLU gives them
    return feature_map


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(tokens: np.ndarray, weights: list[np.ndarray]) -> np.ndarray:
    """Eqs (4) to (8): the state after the last of [batch, tokens, channels], from zeros."""
    of_input, of_state, bias = (
        dict(zip("ifco", np.split(part.astype("float64"), 4, axis=-1), strict=True)) for part in weights
    )
    state = cell = np.zeros((len(tokens), UNITS))
    for x in np.moveaxis(tokens.astype("float64"), 1, 0):
        sums = {gate: x @ of_input[gate] + state @ of_state[gate] + bias[gate] for gate in "ifco"}
        cell = sigmoid(sums["f"]) * cell + sigmoid(sums["i"]) * np.tanh(sums["c"])
        state = sigmoid(sums["o"]) * np.tanh(cell)
    return state


@pytest.mark.parametrize("sequence_length", [ROWS * COLUMNS, 64])
@pytest.mark.parametrize("variant", ["parallel", "serial"])
def test_lstm_branch_equals_the_paper_s_equations(
    variant: str, sequence_length: int, feature_map: np.ndarray
) -> None:
    head = build_head(variant, sequence_length=sequence_length)
    branch = head.get_layer("lstm_branch")
    rng = np.random.default_rng(1)
    branch.set_weights([rng.normal(size=weight.shape) for weight in branch.get_weights()])
    expected = lstm(feature_map.reshape(3, ROWS * COLUMNS, CHANNELS), branch.get_weights())
    np.testing.assert_allclose(keras.Model(head.input, branch.output)(feature_map), expected, atol=1e-5)


@pytest.mark.parametrize("variant", ["parallel", "serial", "none"])
def test_hybrid_head_ignores_padding(variant: str, feature_map: np.ndarray) -> None:
    short, long = build_head(variant, sequence_length=ROWS * COLUMNS), build_head(variant, sequence_length=64)
    long.set_weights(short.get_weights())
    np.testing.assert_allclose(short(feature_map), long(feature_map), atol=1e-6)


@pytest.mark.parametrize(
    ("variant", "branches"),
    [("parallel", {"cnn_branch", "lstm_branch"}), ("serial", {"lstm_branch"}), ("none", {"cnn_branch"})],
)
def test_head_variants_use_all_their_branches(
    variant: str, branches: set[str], feature_map: np.ndarray
) -> None:
    head = build_head(variant)
    assert {layer.name for layer in head.layers if layer.name.endswith("_branch")} == branches
    before = np.asarray(head(feature_map))
    for name in branches:
        layer = head.get_layer(name)
        weights = layer.get_weights()
        layer.set_weights([weight + 1 for weight in weights])
        assert np.abs(np.asarray(head(feature_map)) - before).max() > 1e-3
        layer.set_weights(weights)


def test_probabilities_are_the_float32_softmax_of_logits(feature_map: np.ndarray) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = build_head()
    finally:
        keras.config.set_dtype_policy(before)
    logits: Any = keras.Model(head.input, head.get_layer("logits").output)(feature_map)
    assert keras.backend.standardize_dtype(head(feature_map).dtype) == "float32"
    np.testing.assert_allclose(head(feature_map), keras.ops.softmax(logits), atol=1e-6)


def test_raster_tokens_are_row_major_and_right_padded() -> None:
    feature_map = np.arange(2 * 2 * 3 * 4, dtype="float32").reshape(2, 2, 3, 4)
    tokens, mask = RasterTokens(length=8)(feature_map)
    np.testing.assert_array_equal(tokens[:, :6], feature_map.reshape(2, 6, 4))
    np.testing.assert_array_equal(tokens[:, 6:], 0)
    np.testing.assert_array_equal(mask, [[True] * 6 + [False] * 2] * 2)


def test_raster_tokens_do_not_mask_zeros() -> None:
    _, mask = RasterTokens(length=4)(np.zeros((1, 2, 2, 3), dtype="float32"))
    assert np.all(mask)


def test_count_flops_of_a_small_model() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", strides=2)(inputs)  # 4 * 4 places, 3 * 3 * 3 * 4 weights
    x = layers.DepthwiseConv2D(3, padding="same")(x)  # 4 * 4 places, 3 * 3 * 4 weights
    x = layers.BatchNormalization()(x)
    x = layers.Reshape((16, 4))(x)
    x = layers.LSTM(5)(x)  # 16 tokens, (4 + 5) * 4 * 5 weights
    outputs = layers.Dense(2)(x)  # 5 * 2
    assert count_flops(keras.Model(inputs, outputs)) == 2 * (16 * 108 + 16 * 36 + 16 * 180 + 10)


def test_count_flops_of_a_nested_model() -> None:
    inner_inputs = keras.Input((6,))
    inner = keras.Model(inner_inputs, layers.Dense(3)(inner_inputs))
    inputs = keras.Input((6,))
    assert count_flops(keras.Model(inputs, inner(inputs))) == 2 * 18


def test_count_flops_of_mobilenet_equals_its_paper() -> None:
    """Howard et al. (2017), table 8: 569 million multiply-adds at 224 px, 1.024 of them its classifier's."""
    model = keras.applications.MobileNet(weights=None, include_top=False, input_shape=(224, 224, 3))
    assert count_flops(model) / 2 == pytest.approx(569e6 - 1.024e6, rel=2e-3)
