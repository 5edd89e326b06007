"""Training callbacks: history rows and TensorBoard curves, errors for losses that are not finite."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from knet.models.callbacks import FiniteLoss, TrainingHistory
from knet.models.optimizer import StaircaseDecay


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """The scalar curves of a log folder, by tag."""
    found: dict[str, list[tuple[int, float]]] = {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for record in tf.data.TFRecordDataset([str(file)]).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    number = tf.make_ndarray(value.tensor).item()
                    found.setdefault(value.tag, []).append((event.step, number))
    return found


def test_training_history_has_rows_and_curves(tmp_path: Path) -> None:
    x, y = np.ones((6, 1), "float32"), np.ones((6, 1), "float32")
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    rate = StaircaseDecay(rate=0.1, gamma=0.5, batch=2, images=6)
    model.compile(keras.optimizers.SGD(rate), "mse", jit_compile=False)
    history = TrainingHistory(tmp_path, images=6)
    history.epochs = [{"epoch": 1, "loss": 4.0, "val_loss": 3.0, "learning_rate": 0.2}]
    fitted = model.fit(
        x,
        y,
        batch_size=2,
        initial_epoch=1,
        epochs=3,
        validation_data=(x, y),
        verbose=0,
        callbacks=[history],
    ).history
    history.write_confusion([[5, 1], [0, 7]], ("ductal", "lobular"))

    assert [row["epoch"] for row in history.epochs] == [1, 2, 3]
    assert [row["loss"] for row in history.epochs] == [4.0, *fitted["loss"]]
    train, validation = scalars(tmp_path / "train"), scalars(tmp_path / "validation")
    assert [value for _, value in train["epoch_loss"]] == pytest.approx(
        [row["loss"] for row in history.epochs]
    )
    assert [value for _, value in validation["epoch_loss"]] == pytest.approx([3.0, *fitted["val_loss"]])
    assert [value for _, value in train["epoch_learning_rate"]] == pytest.approx([0.2, 0.1, 0.05])
    assert len(train["epoch_images_per_second"]) == 2
    assert validation["confusion/ductal predicted lobular"] == [(3, 1.0)]
    assert validation["confusion/lobular predicted lobular"] == [(3, 7.0)]


def fit(bad: int | None, *, bad_validation: bool = False) -> None:
    """Two epochs of three batches, of which `bad` (from 0) has no finite loss in the second."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", jit_compile=False)

    def batches(epochs: int) -> object:
        for epoch in range(epochs):
            for batch in range(3):
                value = float("nan") if epoch == 1 and batch == bad else 1.0
                yield np.full((2, 1), value, "float32"), np.ones((2, 1), "float32")

    target = float("inf") if bad_validation else 1.0
    model.fit(
        batches(2),
        steps_per_epoch=3,
        epochs=2,
        verbose=0,
        validation_data=(np.ones((2, 1)), np.full((2, 1), target)),
        callbacks=[FiniteLoss(lambda epoch, batch: ArithmeticError(f"{epoch} {batch}"))],
    )


def test_finite_loss_reports_epoch_and_batch() -> None:
    with pytest.raises(ArithmeticError, match="1 2"):
        fit(2)


def test_finite_loss_reports_validation() -> None:
    with pytest.raises(ArithmeticError, match="0 None"):
        fit(None, bad_validation=True)


def test_finite_loss_passes_finite_losses() -> None:
    fit(None)
