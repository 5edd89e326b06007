"""Optimizer, schedule, accumulation and loss against the paper's equations in NumPy, and against Keras."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from tensorflow.python.framework import config as tf_config

from knet.models.optimizer import (
    AccumulatingModel,
    BlockAdamW,
    BlockSGD,
    FocalCrossentropy,
    SmoothedCrossentropy,
    StaircaseDecay,
)

RATE, GAMMA, MU, BATCH, IMAGES = 0.01, 0.95, 0.9, 4, 18


def model() -> keras.Model:
    keras.utils.set_random_seed(0)
    inputs = keras.Input((3,))
    hidden = keras.layers.Dense(4, name="lower")(inputs)
    return keras.Model(inputs, keras.layers.Dense(2, name="upper")(hidden))


def test_block_sgd_equals_the_paper_s_equations() -> None:
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


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("momentum", [0.0, MU, "variable"])
def test_block_sgd_equals_keras_sgd_to_the_bit(momentum: Any, nesterov: bool) -> None:
    mu = MU if momentum == "variable" else momentum
    weights = []
    for optimizer in (
        BlockSGD(0.1, tf.Variable(mu) if momentum == "variable" else mu, nesterov=nesterov),
        keras.optimizers.SGD(0.1, momentum=mu, nesterov=nesterov),
    ):
        rng = np.random.default_rng(0)
        variables = model().trainable_variables
        for _ in range(20):
            gradients = [rng.normal(size=variable.shape).astype("float32") for variable in variables]
            optimizer.apply_gradients(zip(map(tf.constant, gradients), variables, strict=True))
        weights.append([variable.numpy() for variable in variables])
    for own, expected in zip(*weights, strict=True):
        np.testing.assert_array_equal(own, expected)


def test_block_sgd_with_multiplier_0_does_not_learn() -> None:
    optimizer = BlockSGD(0.1, multipliers={"lower": 0.0})
    variables = model().trainable_variables
    before = [variable.numpy() for variable in variables]
    optimizer.apply_gradients((keras.ops.ones_like(variable), variable) for variable in variables)
    changed = [bool(np.any(old != new.numpy())) for old, new in zip(before, variables, strict=True)]
    assert changed == [False, False, True, True]


def test_block_sgd_is_serialized() -> None:
    schedule = StaircaseDecay(rate=RATE, gamma=GAMMA, batch=BATCH, images=IMAGES)
    optimizer = BlockSGD(schedule, momentum=MU, multipliers={"lower": 0.5})
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert restored.get_config() == optimizer.get_config()


def updated(optimizer: Any, *, steps: int = 20, layers: tuple[str, ...] = ("lower", "upper")) -> list[Any]:
    """Return the weights of the model after updates of some layers by random gradients."""
    rng = np.random.default_rng(0)
    every = model().trainable_variables
    optimizer.build(every)
    variables = [variable for variable in every if variable.path.split("/")[0] in layers]
    for _ in range(steps):
        gradients = [rng.normal(size=variable.shape).astype("float32") for variable in variables]
        optimizer.apply_gradients(zip(map(tf.constant, gradients), variables, strict=True))
    return [variable.numpy() for variable in every]


@pytest.mark.parametrize("weight_decay", [0.0, 0.1, "variable"])
def test_block_adamw_equals_keras_adamw(weight_decay: Any) -> None:
    decay = tf.Variable(0.1) if weight_decay == "variable" else weight_decay
    own = updated(BlockAdamW(0.05, decay))
    for weights, expected in zip(own, updated(keras.optimizers.AdamW(0.05, float(decay))), strict=True):
        np.testing.assert_allclose(weights, expected, atol=1e-5)  # 1 - 0.999 in float32


def test_block_adamw_multiplier_is_that_of_the_learning_rate() -> None:
    own = updated(BlockAdamW(0.05, 0.1, multipliers={"lower": 0.2}))
    slow, fast = (updated(keras.optimizers.AdamW(rate, 0.1)) for rate in (0.01, 0.05))
    for weights, expected in zip(own, [*slow[:2], *fast[2:]], strict=True):
        np.testing.assert_allclose(weights, expected, atol=1e-5)  # 1 - 0.999 in float32


def test_block_adamw_with_multiplier_0_does_not_learn() -> None:
    own = updated(BlockAdamW(0.05, 0.1, multipliers={"lower": 0.0}))
    np.testing.assert_array_equal(own[0], model().trainable_variables[0].numpy())


def test_block_adamw_corrects_the_moments_of_a_layer_unfrozen_late() -> None:
    optimizer = BlockAdamW(0.05, 0.0)
    variables = model().trainable_variables
    optimizer.build(variables)
    ones = [keras.ops.ones_like(variable) for variable in variables]
    for _ in range(200):
        optimizer.apply_gradients(zip(ones[2:], variables[2:], strict=True))
    before = variables[0].numpy()
    optimizer.apply_gradients(zip(ones, variables, strict=True))
    # The first step of Adam has the length of the learning rate.
    np.testing.assert_allclose(before - variables[0].numpy(), 0.05, rtol=1e-5)


def test_block_adamw_is_serialized() -> None:
    schedule = StaircaseDecay(rate=RATE, gamma=GAMMA, batch=BATCH, images=IMAGES)
    optimizer = BlockAdamW(schedule, 0.01, multipliers={"lower": 0.5})
    restored = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert restored.get_config() == optimizer.get_config()


@pytest.mark.parametrize(("batch", "images"), [(4, 20), (3, 10), (500, 16_359), (3, 52)])
def test_staircase_decay_equals_the_paper_s_equation(batch: int, images: int) -> None:
    decay = StaircaseDecay(rate=0.1, gamma=0.95, batch=batch, images=images)
    updates = np.array([0, 1, 4, 5, 9, 10, 32, 33, 260, 330])  # 260 * 3 / 52 is whole, in float32 below it
    expected = 0.1 * 0.95 ** (updates * batch // images)
    np.testing.assert_allclose([float(decay(update)) for update in updates], expected, rtol=1e-5)


def test_staircase_decay_after_100_epochs() -> None:
    decay = StaircaseDecay(rate=0.001, gamma=0.95, batch=500, images=15_000)
    np.testing.assert_allclose(float(decay(100 * 30)), 5.9e-6, rtol=0.01)


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


def train(
    model: Any,
    batches: tf.data.Dataset,
    *,
    jit_compile: bool = False,
    optimizer: Any = keras.optimizers.SGD,
    **settings: Any,
) -> Any:
    own = {"weight_decay": 0.1} if issubclass(optimizer, keras.optimizers.AdamW) else {"momentum": 0.9}
    model.compile(
        optimizer=optimizer(0.1, **own),
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
def test_accumulation_equals_the_large_batch(
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


@pytest.mark.usefixtures("xla")
@pytest.mark.parametrize(("micro_batch", "jit_compile"), [(None, False), (1, False), (3, False), (3, True)])
def test_accumulation_with_adamw_equals_the_large_batch(
    batches: tf.data.Dataset, micro_batch: int | None, jit_compile: bool
) -> None:
    reference, model = build(keras.Model), build()
    expected = train(reference, batches, optimizer=keras.optimizers.AdamW)
    model.micro_batch = micro_batch
    history = train(model, batches, jit_compile=jit_compile, optimizer=BlockAdamW)
    for own, other in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(own, other, atol=2e-5)  # Adam divides by the gradient's size
    np.testing.assert_allclose(history["loss"], expected["loss"], rtol=1e-4)


@pytest.fixture
def xla() -> Iterator[None]:
    """XLA in a process that has made operations deterministic, where Keras turns it off."""
    deterministic = tf_config.is_op_determinism_enabled()
    tf_config.disable_op_determinism()
    yield
    if deterministic:
        tf_config.enable_op_determinism()


@pytest.mark.usefixtures("xla")
@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, BlockSGD])
def test_accumulation_with_xla(batches: tf.data.Dataset, optimizer: Any) -> None:
    reference, model = build(), build()
    train(reference, batches)
    model.micro_batch = 3
    train(model, batches, jit_compile=True, optimizer=optimizer)
    assert model.jit_compile
    assert_equal(model, reference)


def test_accumulation_with_trainable_batch_norm(batches: tf.data.Dataset) -> None:
    reference, model = build(normalisation="learning"), build(normalisation="learning")
    train(reference, batches)
    model.micro_batch = 4
    train(model, batches)
    difference = (
        model.get_layer("normalisation").moving_mean - reference.get_layer("normalisation").moving_mean
    )
    assert np.abs(difference).max() > 1e-3


@pytest.fixture
def mixed_float16() -> Iterator[None]:
    """A policy whose loss is scaled."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.usefixtures("mixed_float16")
def test_adamw_in_mixed_precision_equals_keras(batches: tf.data.Dataset) -> None:
    reference, model = build(), build()
    train(reference, batches, optimizer=keras.optimizers.AdamW)
    train(model, batches, optimizer=BlockAdamW)
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    # Steps are skipped where the scaled gradients overflow.
    assert 3 < int(model.optimizer.iterations) == int(reference.optimizer.iterations)
    for own, expected in zip(model.get_weights(), reference.get_weights(), strict=True):
        np.testing.assert_allclose(own, expected, atol=0.01)


def test_accumulation_in_mixed_precision(batches: tf.data.Dataset) -> None:
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


def test_accumulating_model_is_saved(batches: tf.data.Dataset, tmp_path: Any) -> None:
    model = build()
    train(model, batches)
    model.save(tmp_path / "model.keras")
    restored = keras.saving.load_model(tmp_path / "model.keras")
    assert_equal(restored, model)


LABELS = np.array([0, 1, 1])
PROBABILITIES = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], "float32")


def test_crossentropy_without_smoothing_is_the_mean_log_loss() -> None:
    expected = -np.log([0.9, 0.8, 0.3]).mean()
    np.testing.assert_allclose(SmoothedCrossentropy()(LABELS, PROBABILITIES), expected, rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.1, 0.5])
def test_crossentropy_smoothing_equals_keras(smoothing: float) -> None:
    reference = keras.losses.CategoricalCrossentropy(label_smoothing=smoothing)
    loss = SmoothedCrossentropy(label_smoothing=smoothing)
    expected = reference(np.eye(2, dtype="float32")[LABELS], PROBABILITIES)
    np.testing.assert_allclose(loss(LABELS, PROBABILITIES), expected, rtol=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_loss_equals_its_formula(gamma: float) -> None:
    of_label = np.array([0.9, 0.8, 0.3])
    expected = -((1 - of_label) ** gamma * np.log(of_label)).mean()  # equation 4 of Lin et al. (2017)
    loss = FocalCrossentropy(gamma=gamma)
    np.testing.assert_allclose(loss(LABELS, PROBABILITIES), expected, rtol=1e-5)
    restored = keras.losses.deserialize(keras.losses.serialize(loss))
    np.testing.assert_allclose(restored(LABELS, PROBABILITIES), expected, rtol=1e-5)


def test_focal_loss_smooths_labels_as_crossentropy_does() -> None:
    focal, plain = (
        FocalCrossentropy(gamma=0.0, label_smoothing=0.2),
        SmoothedCrossentropy(label_smoothing=0.2),
    )
    np.testing.assert_allclose(focal(LABELS, PROBABILITIES), plain(LABELS, PROBABILITIES), rtol=1e-5)


def test_focal_loss_has_a_gradient_where_the_softmax_saturates() -> None:
    head = keras.Sequential([keras.Input((2,)), keras.layers.Activation("softmax")])
    for labels in (np.array([0]), np.array([1])):
        logits = tf.constant([[60.0, 0.0]])
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = FocalCrossentropy(gamma=0.5)(labels, head(logits))
        assert np.isfinite(tape.gradient(loss, logits)).all()


def test_crossentropy_gradient_of_a_confident_error() -> None:
    head = keras.Sequential([keras.Input((2,)), keras.layers.Activation("softmax")])
    logits = tf.constant([[60.0, 0.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = SmoothedCrossentropy()(np.array([1]), head(logits))
    np.testing.assert_allclose(tape.gradient(loss, logits), [[1, -1]], atol=1e-5)
