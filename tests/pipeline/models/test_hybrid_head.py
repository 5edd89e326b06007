"""The head: its LSTM against the paper's equations in NumPy, padding, and the ablations."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from pipeline.models.hybrid_head import build_hybrid_head

ROWS, COLUMNS, CHANNELS, UNITS = 2, 3, 5, 4


def build(variant: str = "parallel", *, sequence_length: int = 9) -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_hybrid_head(
        (ROWS, COLUMNS, CHANNELS),
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
def test_lstm_branch_is_the_paper_s_equations(
    variant: str, sequence_length: int, feature_map: np.ndarray
) -> None:
    head = build(variant, sequence_length=sequence_length)
    branch = head.get_layer("lstm_branch")
    rng = np.random.default_rng(1)
    branch.set_weights([rng.normal(size=weight.shape) for weight in branch.get_weights()])
    expected = lstm(feature_map.reshape(3, ROWS * COLUMNS, CHANNELS), branch.get_weights())
    np.testing.assert_allclose(keras.Model(head.input, branch.output)(feature_map), expected, atol=1e-5)


@pytest.mark.parametrize("variant", ["parallel", "serial", "none"])
def test_padding_never_changes_the_output(variant: str, feature_map: np.ndarray) -> None:
    short, long = build(variant, sequence_length=ROWS * COLUMNS), build(variant, sequence_length=64)
    long.set_weights(short.get_weights())
    np.testing.assert_allclose(short(feature_map), long(feature_map), atol=1e-6)


@pytest.mark.parametrize(
    ("variant", "branches"),
    [("parallel", {"cnn_branch", "lstm_branch"}), ("serial", {"lstm_branch"}), ("none", {"cnn_branch"})],
)
def test_each_variant_has_its_branches_and_each_reaches_the_output(
    variant: str, branches: set[str], feature_map: np.ndarray
) -> None:
    head = build(variant)
    assert {layer.name for layer in head.layers if layer.name.endswith("_branch")} == branches
    before = np.asarray(head(feature_map))
    for name in branches:
        layer = head.get_layer(name)
        weights = layer.get_weights()
        layer.set_weights([weight + 1 for weight in weights])
        assert np.abs(np.asarray(head(feature_map)) - before).max() > 1e-3
        layer.set_weights(weights)


def test_probabilities_are_the_softmax_of_the_logits_in_float32(feature_map: np.ndarray) -> None:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        head = build()
    finally:
        keras.config.set_dtype_policy(before)
    logits: Any = keras.Model(head.input, head.get_layer("logits").output)(feature_map)
    assert keras.backend.standardize_dtype(head(feature_map).dtype) == "float32"
    np.testing.assert_allclose(head(feature_map), keras.ops.softmax(logits), atol=1e-6)
