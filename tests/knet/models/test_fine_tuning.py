"""Blocks are released from the top downwards, and only then may training stop early."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from training_fixtures import build_hybrid

from knet.base.progress import PROGRESS
from knet.models.backbones import BACKBONES, backbone_blocks
from knet.models.fine_tuning import StagedFineTuning, split_backbone, split_model, unfreeze_top_blocks


def build(tiny: str, *, rate: float = 0.01) -> keras.Model:
    settings = {
        "normalisation": "image",
        "variant": "none",
        "lstm_units": 2,
        "dense_units": 3,
        "dropout": 0.0,
    }
    model = build_hybrid(tiny, **settings)
    model.compile(
        optimizer=keras.optimizers.SGD(rate, momentum=0.9),
        loss="sparse_categorical_crossentropy",
        jit_compile=False,
    )
    model.optimizer.build(model.trainable_variables)
    return model


class Watch(keras.callbacks.Callback):
    """Notes which blocks an epoch changed, statistics of normalisation among them."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: list[set[str]] = []

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._before = self._weights()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        after = self._weights()
        self.changed.append({name for name in after if np.any(after[name] != self._before[name])})

    def _weights(self) -> dict[str, np.ndarray]:
        body, head = self.model.get_layer("backbone"), self.model.get_layer("head")
        of = {"head": head.weights}
        for block in ("block1", "block2"):
            of[block] = [weight for weight in body.weights if weight.path.startswith(block)]
        return {
            name: np.concatenate([weight.numpy().ravel() for weight in weights])
            for name, weights in of.items()
        }


def fit(model: keras.Model, epochs: int, *callbacks: keras.callbacks.Callback) -> Any:
    rng = np.random.default_rng(0)
    pixels, labels = rng.uniform(0, 255, (6, 32, 32, 3)).astype("float32"), np.arange(6) % 2
    return model.fit(
        pixels, labels, validation_data=(pixels, labels), epochs=epochs, callbacks=list(callbacks), verbose=0
    ).history


@pytest.mark.slow
def test_staged_unfreezes_a_block_per_stage(tiny: str) -> None:
    watch = Watch()
    model = build(tiny)
    fit(model, 5, StagedFineTuning(tiny, stage_epochs=1, patience=9), watch)
    head, one, both = {"head"}, {"head", "block2"}, {"head", "block1", "block2"}
    assert watch.changed == [head, one, both, both, both]
    assert int(model.optimizer.iterations) == 5


def test_staged_stage_lasts_stage_epochs(tiny: str) -> None:
    watch = Watch()
    fit(build(tiny), 3, StagedFineTuning(tiny, stage_epochs=2, patience=9), watch)
    assert watch.changed == [{"head"}, {"head"}, {"head", "block2"}]


@pytest.mark.slow
def test_staged_patience_starts_with_the_last_stage(tiny: str) -> None:
    stop = StagedFineTuning(
        tiny, stage_epochs=2, monitor="val_loss", patience=2, min_delta=10, restore_best_weights=True
    )
    history = fit(build(tiny), 20, stop)
    assert len(history["loss"]) == 4 + 2  # two stages of two epochs, and the patience


@pytest.mark.slow
def test_staged_restores_best_weights_of_an_early_stage(tiny: str) -> None:
    stop = StagedFineTuning(tiny, stage_epochs=1, monitor="val_loss", patience=1, restore_best_weights=True)
    model = build(tiny, rate=3.0)  # so high that it gets worse
    history = fit(model, 4, stop)
    rng = np.random.default_rng(0)
    pixels, labels = rng.uniform(0, 255, (6, 32, 32, 3)).astype("float32"), np.arange(6) % 2
    loss = model.evaluate(pixels, labels, verbose=0)
    np.testing.assert_allclose(loss, min(history["val_loss"]), rtol=1e-5)


def test_staged_lets_another_callback_stop_training(tiny: str) -> None:
    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            self.model.stop_training = True

    history = fit(build(tiny), 9, Stop(), StagedFineTuning(tiny, stage_epochs=3, patience=1))
    assert len(history["loss"]) == 1


@pytest.mark.slow
def test_staged_warns_of_too_few_epochs(tiny: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger=PROGRESS):
        fit(build(tiny), 2, StagedFineTuning(tiny, stage_epochs=1, patience=9))
        assert caplog.messages == ["2 epochs do not reach all 3 stages of tiny, which take 3"]
        fit(build(tiny), 3, StagedFineTuning(tiny, stage_epochs=1, patience=9))
        assert len(caplog.messages) == 1


def build_blocks(tiny: str) -> keras.Model:
    return BACKBONES[tiny].build(include_top=False, weights=None, input_shape=(32, 32, 3))


@pytest.mark.parametrize(("count", "trainable"), [(0, set()), (1, {"block2"}), (9, {"block1", "block2"})])
def test_unfreeze_top_blocks_freezes_the_others(tiny: str, count: int, trainable: set[str]) -> None:
    body = build_blocks(tiny)
    unfreeze_top_blocks(backbone_blocks(tiny, body), count)
    assert {variable.path.split("_")[0] for variable in body.trainable_variables} == trainable


def test_frozen_batch_norm_is_in_inference_mode(tiny: str) -> None:
    body = build_blocks(tiny)
    unfreeze_top_blocks(backbone_blocks(tiny, body), 1)
    before = {layer.name: layer.get_weights() for layer in body.layers}
    pixels = np.random.default_rng(0).normal(5, 2, (4, 32, 32, 3)).astype("float32")
    frozen = keras.Model(body.input, body.get_layer("block1_relu").output)
    np.testing.assert_array_equal(frozen(pixels, training=True), frozen(pixels, training=False))
    body(pixels, training=True)
    for name, moves in (("block1_bn", False), ("block2_bn", True)):
        pairs = zip(before[name], body.get_layer(name).get_weights(), strict=True)
        assert any(np.any(old != new) for old, new in pairs) == moves


def test_unfreeze_top_blocks_after_freezing_all(tiny: str) -> None:
    body = build_blocks(tiny)
    unfreeze_top_blocks(backbone_blocks(tiny, body), 0)
    unfreeze_top_blocks(backbone_blocks(tiny, body), 2)
    assert len(body.trainable_variables) == 8


@pytest.mark.parametrize("name", ["mobilenet", "resnet50", "efficientnetv2b0"])
@pytest.mark.parametrize("trainable_blocks", [0, 2])
def test_split_backbone_parts_compose_to_the_backbone(
    name: str, trainable_blocks: int, built: Callable[[str], Any]
) -> None:
    body = built(name).body
    lower, upper = split_backbone(name, body, trainable_blocks=trainable_blocks)
    pixels = np.random.default_rng(0).uniform(-1, 1, (2, 32, 32, 3)).astype("float32")
    np.testing.assert_allclose(upper(lower(pixels)), body(pixels), atol=1e-6)
    weights = {id(variable) for variable in upper.weights}
    above = backbone_blocks(name, body)[len(backbone_blocks(name, body)) - trainable_blocks :]
    assert weights == {
        id(variable) for block in above for layer in block.layers for variable in layer.weights
    }


def test_split_backbone_shares_weights(built: Callable[[str], Any]) -> None:
    body = built("mobilenet").body
    _, upper = split_backbone("mobilenet", body, trainable_blocks=1)
    assert {id(variable) for variable in upper.weights} < {id(variable) for variable in body.weights}


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype("float32")


def hybrid(tiny: str, normalisation: str = "backbone") -> Any:
    return build_hybrid(tiny, normalisation=normalisation, lstm_units=3, dense_units=4, dropout=0.0)


@pytest.mark.parametrize("normalisation", ["image", "backbone", "dataset"])
@pytest.mark.parametrize("trainable_blocks", [0, 1])
def test_split_model_parts_compose_to_the_model(tiny: str, normalisation: str, trainable_blocks: int) -> None:
    model = hybrid(tiny, normalisation)
    frozen, trainable = split_model(model, tiny, trainable_blocks=trainable_blocks)
    np.testing.assert_allclose(trainable(frozen(PIXELS)), model(PIXELS), atol=1e-6)


def test_split_model_training_a_part_trains_the_model(tiny: str) -> None:
    model = hybrid(tiny)
    frozen, trainable = split_model(model, tiny, trainable_blocks=1)
    before, maps = np.asarray(model(PIXELS)), frozen(PIXELS)
    trainable.compile(keras.optimizers.SGD(0.5), loss="sparse_categorical_crossentropy")
    trainable.fit(maps, np.array([0, 1, 1]), epochs=3, verbose=0)
    np.testing.assert_allclose(model(PIXELS), trainable(maps), atol=1e-6)
    assert np.abs(np.asarray(model(PIXELS)) - before).max() > 0.01
    np.testing.assert_array_equal(frozen(PIXELS), maps)
