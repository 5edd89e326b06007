"""A training interrupted after any epoch resumes to the same weights, history and early stop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from knet.base.errors import UserError
from knet.models.callbacks import EarlyStopping, Snapshots, TrainingHistory
from knet.models.checkpoint import Checkpoint
from knet.models.fine_tuning import StagedFineTuning
from knet.models.optimizer import BlockSGD, StaircaseDecay

EPOCHS = 7


class _Interrupt(keras.callbacks.Callback):
    def __init__(self, epoch: int | None) -> None:
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if epoch == self.epoch:
            raise KeyboardInterrupt


class _Losses(keras.callbacks.Callback):
    """Replaces the validation losses: the best is that of the fourth epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        assert logs is not None
        logs["val_loss"] = [9.0, 8.0, 7.0, 3.0, 5.0, 4.0, 6.0][epoch]


def build() -> keras.Model:
    keras.utils.set_random_seed(3)
    x = inputs = keras.Input((8,))
    body_input = keras.Input((8,))
    body = keras.layers.Dense(6, name="block1_dense")(body_input)
    body = keras.layers.BatchNormalization(name="block2_bn")(body)
    x = keras.Model(body_input, body, name="backbone")(x)
    x = keras.layers.Dropout(0.5)(x)
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax")(x))
    rate = StaircaseDecay(rate=0.1, gamma=0.7, batch=4, images=8)
    model.compile(BlockSGD(rate, momentum=0.9), "sparse_categorical_crossentropy", jit_compile=False)
    model.optimizer.build(model.trainable_variables)
    return model


def epoch_batches(first: int) -> tf.data.Dataset:
    rng = np.random.default_rng(0)
    pixels = rng.normal(size=(EPOCHS * 2, 4, 8)).astype("float32")[2 * first :]
    labels = rng.integers(0, 2, (EPOCHS * 2, 4))[2 * first :]
    return tf.data.Dataset.from_tensor_slices((pixels, labels))


def train(
    folder: Path, *, interrupt: int | None = None, snapshots: tuple[int, ...] = ()
) -> tuple[keras.Model, Any, Any, Checkpoint]:
    model = build()
    history = TrainingHistory(folder / "logs", images=8)
    stopping = StagedFineTuning(
        "tiny",
        stage_epochs=1,
        monitor="val_loss",
        patience=2,
        restore_best_weights=True,
        train_until=max(snapshots, default=0),
    )
    saved = Snapshots(model, snapshots, folder=folder / "snapshots")
    checkpoint = Checkpoint(folder / "state.npz", stopping=stopping, history=history)
    model.fit(
        epoch_batches(checkpoint.first_epoch),
        steps_per_epoch=2,
        initial_epoch=checkpoint.first_epoch,
        epochs=EPOCHS,
        verbose=0,
        callbacks=[_Interrupt(interrupt), _Losses(), stopping, history, saved, checkpoint],
    )
    return model, stopping, history, checkpoint


def state(model: keras.Model, stopping: Any, history: TrainingHistory) -> Any:
    clocks = ("seconds", "images_per_second")
    rows = [{name: value for name, value in row.items() if name not in clocks} for row in history.epochs]
    return rows, stopping.best, stopping.best_epoch, [a.tobytes() for a in model.get_weights()]


@pytest.mark.slow
def test_checkpoint_resumes_to_the_same_result_after_any_epoch(tiny: str, tmp_path: Path) -> None:
    tf.config.experimental.enable_op_determinism()
    whole = state(*train(tmp_path / "whole")[:3])
    assert len(whole[0]) == 6  # the best is the fourth of seven, and patience is two
    for epoch in range(1, 6):
        folder = tmp_path / str(epoch)
        with pytest.raises(KeyboardInterrupt):
            train(folder, interrupt=epoch)
        assert state(*train(folder)[:3]) == whole


def weights_of(folder: Path, *epochs: int) -> list[list[bytes]]:
    found = []
    for epoch in epochs:
        model = build()
        model.load_weights(folder / "snapshots" / f"epoch-{epoch}.weights.h5")
        found.append([array.tobytes() for array in model.get_weights()])
    return found


@pytest.mark.slow
def test_checkpoint_resumes_to_the_same_snapshots_after_any_epoch(tiny: str, tmp_path: Path) -> None:
    tf.config.experimental.enable_op_determinism()
    model, stopping, history, _ = train(tmp_path / "whole", snapshots=(2, 5, 7))
    whole = state(model, stopping, history)
    assert stopping.stopped_after == 6 and len(whole[0]) == EPOCHS
    assert whole[1:] == state(*train(tmp_path / "without")[:3])[1:]  # the best epoch, and its weights
    saved = weights_of(tmp_path / "whole", 2, 5, 7)
    assert len({weights[0] for weights in saved}) == 3
    for epoch in range(1, EPOCHS):
        folder = tmp_path / str(epoch)
        with pytest.raises(KeyboardInterrupt):
            train(folder, interrupt=epoch, snapshots=(2, 5, 7))
        model, stopping, history, _ = train(folder, snapshots=(2, 5, 7))
        assert state(model, stopping, history) == whole and stopping.stopped_after == 6
        assert weights_of(folder, 2, 5, 7) == saved


def test_checkpoint_of_a_stopped_training_trains_no_more(tiny: str, tmp_path: Path) -> None:
    whole = state(*train(tmp_path)[:3])
    *again, checkpoint = train(tmp_path)
    assert checkpoint.first_epoch == EPOCHS
    assert state(*again) == whole
    checkpoint.remove()
    assert not list(tmp_path.glob("*.npz"))
    assert train(tmp_path)[3].first_epoch == 0


def test_checkpoint_names_a_damaged_file(tmp_path: Path) -> None:
    file = tmp_path / "state.npz"
    file.write_bytes(b"PK\x03\x04 and no more")
    stopping = EarlyStopping()
    with pytest.raises(UserError, match=r"state\.npz is damaged .*delete it"):
        Checkpoint(file, stopping=stopping, history=TrainingHistory(tmp_path, images=1))
