"""Candidate: it holds the settings that affect its training, and compiles its model by them."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from knet.base.errors import UserError
from knet.models.optimizer import AccumulatingModel
from knet.training.candidate import Candidate
from knet.training.devices import Devices
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config


def settings(*overrides: str) -> str:
    config = load_config("demo", overrides)
    return candidate_from_config(config, "vgg16", synthetic_data=False).model_dump_json()


@pytest.mark.parametrize(
    "override",
    [
        "training.epochs=9",
        "head.lstm_units=8",
        "image.size=96",
        "seed=3",
        "candidates.vgg16.weights=imagenet",
        "candidates.vgg16.block_rates.block1=0.5",
        "head.variant=serial",
        "training.micro_batch=4",
        "devices.precision=mixed_float16",
    ],
)
def test_candidate_changes_with_settings_of_training(override: str) -> None:
    assert settings(override) != settings()


@pytest.mark.parametrize(
    "override",
    ["gate.minimum.f1=0.5", "kubeflow.image=other", "training.learning_rate=0.5", "training.momentum=0.1"],
)
def test_candidate_ignores_other_settings(override: str) -> None:
    assert settings(override) == settings()


def test_candidate_has_its_own_settings() -> None:
    own = "{backbone: vgg16, image: {size: 96}, head: {variant: serial}, training: {label_smoothing: 0.1}}"
    config = load_config("demo", [f"candidates={{deep: {own}, wide: {{backbone: vgg16}}}}", "image.size=64"])
    deep, wide = (candidate_from_config(config, name, synthetic_data=False) for name in ("deep", "wide"))
    assert (deep.name, deep.backbone, wide.name, wide.backbone) == ("deep", "vgg16", "wide", "vgg16")
    assert (deep.image.size, deep.head.variant, deep.training.label_smoothing) == (96, "serial", 0.1)
    assert (wide.image.size, wide.head.variant, wide.training.label_smoothing) == (64, "parallel", 0)
    assert deep.sequence_length == wide.sequence_length == 9


def test_candidate_without_tuning_has_the_configured_values() -> None:
    assert settings("tuning=null", "training.learning_rate=0.5") != settings("tuning=null")


def test_sequence_length_is_that_of_the_largest_grid() -> None:
    config = load_config("demo", ["image.size=227"])
    lengths = {
        candidate_from_config(config, name, synthetic_data=False).sequence_length
        for name in config.candidates
    }
    assert lengths == {64}


def small(*overrides: str) -> Candidate:
    settings = ("candidates={mobilenet: {alpha: 0.25, weights: none}}", "tuning=null", "image.size=32")
    return candidate_from_config(
        load_config("demo", [*settings, *overrides]), "mobilenet", synthetic_data=True
    )


def build(*overrides: str, precision: str = "float32") -> AccumulatingModel:
    return build_candidate(small(*overrides), precision=precision)


def build_candidate(candidate: Candidate, *, precision: str = "float32") -> AccumulatingModel:
    devices = Devices(strategy=tf.distribute.get_strategy(), precision=precision, xla=False, description="")
    return candidate.build(
        devices=devices,
        pixel_statistics=([128.0] * 3, [64.0] * 3),
        learning_rate=0.1,
        momentum=0.9,
        images=18,
    )


def trainable_layers(model: keras.Model) -> set[str]:
    return {variable.path.split("/")[0].removesuffix("_bn") for variable in model.trainable_variables}


HEAD = {"cnn_branch", "lstm_branch", "head_normalisation", "head_dense", "logits"}


def test_build_trains_the_topmost_blocks_and_the_head() -> None:
    blocks = ("training.fine_tune=blocks", "training.blocks={}")
    assert trainable_layers(build(blocks[0], blocks[1].format(0))) == HEAD
    two = HEAD | {f"conv_{kind}_{pair}" for kind in ("dw", "pw") for pair in (12, 13)}
    assert trainable_layers(build(blocks[0], blocks[1].format(2))) == two


def test_build_for_all_and_staged_trains_every_layer() -> None:
    whole, staged = build("training.fine_tune=all"), build("training.fine_tune=staged")
    assert trainable_layers(whole) == trainable_layers(staged)
    assert "conv1" in trainable_layers(whole)
    # Momentum of every variable that will learn, from the first stage on.
    assert len(staged.optimizer.variables) == len(whole.optimizer.variables)


def test_learning_rate_decays_with_the_images_seen() -> None:
    model = build("training.batch_size=4", "training.learning_rate_decay=0.5")
    rates = []
    for iteration in (0, 4, 5, 9):  # 18 images are seen within the fifth update
        model.optimizer.iterations.assign(iteration)
        rates.append(float(model.optimizer.learning_rate))
    np.testing.assert_allclose(rates, [0.1, 0.1, 0.05, 0.025], rtol=1e-6)


def test_learning_rate_with_a_large_batch_decays_each_epoch() -> None:
    model = build("training.batch_size=500", "training.learning_rate_decay=0.5")
    model.optimizer.iterations.assign(2)
    np.testing.assert_allclose(float(model.optimizer.learning_rate), 0.025, rtol=1e-6)


def test_block_rates_apply_to_the_layers_of_their_blocks() -> None:
    model = build("candidates.mobilenet.block_rates={pair13: 0.5, head: 2}")
    rates: Any = model.optimizer.get_config()["multipliers"]
    assert (rates["conv_dw_13"], rates["conv_pw_13_bn"], rates["lstm_branch"]) == (0.5, 0.5, 2)
    assert "conv_dw_12" not in rates


def test_block_rates_of_an_unknown_block_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"mobilenet\.block_rates: unknown block pair14; use stem, pair1, .*head"
    ):
        build("candidates.mobilenet.block_rates={pair14: 0.5}")


def test_mixed_precision_has_float32_weights_inputs_and_outputs() -> None:
    model = build(precision="mixed_float16")
    assert isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer)
    assert {str(variable.dtype) for variable in model.trainable_variables} == {"float32"}
    assert model.get_layer("backbone").get_layer("conv_pw_13").compute_dtype == "float16"
    assert (model.input.dtype, model.output.dtype) == ("float32", "float32")


@pytest.mark.parametrize("micro_batch", ["null", "2"])
@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
def test_training_and_validation_steps_are_traced_once(
    monkeypatch: pytest.MonkeyPatch, micro_batch: str, precision: str
) -> None:
    traces = []

    def count_traces(step: str) -> None:
        traced = getattr(AccumulatingModel, step)

        def counted(self: AccumulatingModel, data: Any) -> Any:
            traces.append(step)
            return traced(self, data)

        monkeypatch.setattr(AccumulatingModel, step, counted)

    count_traces("train_step")
    count_traces("test_step")
    model = build(f"training.micro_batch={micro_batch}", precision=precision)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype("uint8")
    batches = tf.data.Dataset.from_tensor_slices((images, [0, 1, 0, 1, 0, 1])).batch(4)
    model.fit(batches, validation_data=batches, epochs=2, verbose=0)
    assert sorted(traces) == ["test_step", "train_step"]


@pytest.mark.parametrize(
    ("override", "weights"),
    [("training.class_weights=none", None), ("training.class_weights=balanced", {0: 2.0, 1: 2 / 3})],
)
def test_class_weight_balances_classes_with_mean_1(override: str, weights: Any) -> None:
    found = small(override).class_weight((10, 30))
    assert found == weights
    if found:
        assert 10 * found[0] == 30 * found[1]


def test_build_for_three_classes_trains_and_predicts_them() -> None:
    candidate = small("training.label_smoothing=0.1").model_copy(
        update={"classes": ("a", "b", "c"), "positive": ("c", "b")}
    )
    assert candidate.positive_labels == (2, 1)
    model = build_candidate(candidate)
    images = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3)).astype("uint8")
    batches = tf.data.Dataset.from_tensor_slices((images, [0, 1, 2, 2, 1, 0])).batch(4)
    losses = model.fit(batches, epochs=1, verbose=0).history["loss"]
    assert np.isfinite(losses).all()
    predicted = model.predict(images, verbose=0)
    assert predicted.shape == (6, 3)
    np.testing.assert_allclose(predicted.sum(axis=1), 1, atol=1e-6)


def test_class_weight_balances_three_classes() -> None:
    found = small("training.class_weights=balanced").class_weight((10, 30, 20))
    assert found == {0: 2.0, 1: 2 / 3, 2: 1.0}


@pytest.mark.parametrize("fine_tune", ["all", "staged"])
@pytest.mark.parametrize(("monitor", "best"), [("val_loss", 2), ("val_accuracy", 1)])
def test_early_stopping_restores_the_best_monitored_epoch(fine_tune: str, monitor: str, best: int) -> None:
    stopping = small(
        f"training.early_stopping_monitor={monitor}", f"training.fine_tune={fine_tune}"
    ).early_stopping()
    stopping.set_model(build())
    stopping.set_params({"epochs": 3})
    stopping.on_train_begin()
    for epoch, (loss, accuracy) in enumerate([(0.9, 0.5), (0.8, 0.7), (0.7, 0.6)]):
        stopping.model.get_layer("head").get_layer("logits").bias.assign([epoch, 0])
        stopping.on_epoch_end(epoch, {"val_loss": loss, "val_accuracy": accuracy})
    stopping.on_train_end()
    assert stopping.best_epoch == best
    assert stopping.model.get_layer("head").get_layer("logits").bias.numpy()[0] == best
