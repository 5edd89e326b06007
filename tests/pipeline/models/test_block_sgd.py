"""Fifty updates against the paper's eqs (2) and (3) in NumPy."""

from __future__ import annotations

import keras
import numpy as np

from pipeline.models.block_sgd import BlockSGD
from pipeline.models.staircase_decay import StaircaseDecay

RATE, GAMMA, MU, BATCH, IMAGES = 0.01, 0.95, 0.9, 4, 18


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, name="lower")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, name="upper")(hidden))


def test_fifty_updates_are_those_of_the_paper_s_equations() -> None:
    alphas = {"lower": 0.25, "upper": 1.0}
    schedule = StaircaseDecay(rate=RATE, gamma=GAMMA, batch=BATCH, images=IMAGES)
    optimizer = BlockSGD(schedule, momentum=MU, multipliers={"lower": 0.25})
    variables = model().trainable_variables
    expected = [variable.numpy().astype("float64") for variable in variables]
    velocity = [np.zeros_like(weight) for weight in expected]
    rng = np.random.default_rng(0)
    for e in range(50):
        gradients = [rng.normal(size=weight.shape).astype("float32") for weight in expected]
        optimizer.apply_gradients(
            zip([keras.ops.convert_to_tensor(g) for g in gradients], variables, strict=True)
        )
        gamma_e = RATE * GAMMA ** np.floor(e * BATCH / IMAGES)
        for j, variable in enumerate(variables):
            alpha_j = alphas[variable.path.split("/")[0]]
            velocity[j] = MU * velocity[j] - gamma_e * alpha_j * gradients[j]
            expected[j] = expected[j] + velocity[j]
    for variable, weight in zip(variables, expected, strict=True):
        np.testing.assert_allclose(variable.numpy(), weight, atol=1e-6)


def test_a_block_whose_rate_is_zero_does_not_learn() -> None:
    optimizer = BlockSGD(0.1, multipliers={"lower": 0.0})
    variables = model().trainable_variables
    before = [variable.numpy() for variable in variables]
    optimizer.apply_gradients((keras.ops.ones_like(variable), variable) for variable in variables)
    changed = [bool(np.any(old != new.numpy())) for old, new in zip(before, variables, strict=True)]
    assert changed == [False, False, True, True]


def test_it_survives_saving() -> None:
    schedule = StaircaseDecay(rate=RATE, gamma=GAMMA, batch=BATCH, images=IMAGES)
    optimizer = BlockSGD(schedule, momentum=MU, multipliers={"lower": 0.5})
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert restored.get_config() == optimizer.get_config()
