"""What Trainer runs: trains one candidate with early stopping and exports it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import tensorflow as tf

from pipeline.candidate import Candidate
from pipeline.dataset import TransformedSplit
from pipeline.errors import UserError
from pipeline.model_info import ModelInfo, write_model_info
from pipeline.models.export_model import export_model
from pipeline.models.training_progress import TrainingProgress


def run_fn(fn_args: Any) -> None:
    """Trains, restores the best epoch, and writes the SavedModel and, beside the logs, `model.keras`.

    Args:
        fn_args: TFX's FnArgs; `custom_config["candidate"]` is a `Candidate` as JSON.

    Raises:
        UserError: the loss became infinite or undefined.
    """
    start = time.monotonic()
    candidate = Candidate.model_validate_json(fn_args.custom_config["candidate"])
    make_reproducible(candidate.seed)
    train = TransformedSplit(fn_args.train_files, size=candidate.image.size)
    validation = TransformedSplit(fn_args.eval_files, size=candidate.image.size)
    learning_rate, momentum = _hyperparameters(fn_args, candidate)
    strategy = strategy_for_visible_devices()
    with strategy.scope():
        model = candidate.build(
            pixel_statistics=train.pixel_statistics(),
            learning_rate=learning_rate,
            momentum=momentum,
            steps_per_epoch=steps_per_epoch(train, candidate),
        )
    batch_size = candidate.training.batch_size
    history = model.fit(
        train.training_batches(
            batch_size=batch_size, augmentation=candidate.training.augmentation, seed=candidate.seed
        ),
        validation_data=validation.batches(batch_size=batch_size),
        epochs=candidate.training.epochs,
        callbacks=[
            *candidate.callbacks(),
            keras.callbacks.TensorBoard(fn_args.model_run_dir),
            TrainingProgress(),
        ],
        verbose=0,
    ).history
    if not all(math.isfinite(loss) for loss in history["loss"] + history.get("val_loss", [])):
        raise UserError(
            f"training {candidate.name}: the loss is not finite after {len(history['loss'])} epochs "
            f"with learning rate {learning_rate:g}; lower training.learning_rate or tuning.learning_rate.high"
        )
    model.save(Path(fn_args.model_run_dir) / "model.keras")
    saved_model = Path(fn_args.serving_model_dir)
    export_model(model, saved_model, size=candidate.image.size, classes=candidate.classes)
    info = ModelInfo(
        candidate=candidate.name,
        weights=Path(candidate.settings.weights).name,
        classes=candidate.classes,
        image_size=candidate.image.size,
        parameters=model.count_params(),
        train_images=train.count,
        validation_images=validation.count,
        epochs=len(history["loss"]),
        learning_rate=learning_rate,
        momentum=momentum,
        seconds=time.monotonic() - start,
        device=f"{strategy.num_replicas_in_sync} x {_device_type()}",
        seed=candidate.seed,
        synthetic_data=candidate.synthetic_data,
    )
    write_model_info(saved_model, info)


def make_reproducible(seed: int) -> None:
    """Starts from the seed: the same records and settings then give the same weights on the same machine."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


def strategy_for_visible_devices() -> Any:
    """All GPUs mirrored where there are several, else the one device there is."""
    gpus = tf.config.list_physical_devices("GPU")
    return tf.distribute.MirroredStrategy() if len(gpus) > 1 else tf.distribute.get_strategy()


def _device_type() -> str:
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"


def steps_per_epoch(train: TransformedSplit, candidate: Candidate) -> int:
    """Updates in one pass over every copy of every training image."""
    return math.ceil(train.count * len(candidate.training.augmentation) / candidate.training.batch_size)


def _hyperparameters(fn_args: Any, candidate: Candidate) -> tuple[float, float]:
    """The Tuner's learning rate and momentum where it ran, else the configured ones."""
    if not fn_args.hyperparameters:
        return candidate.training.learning_rate, candidate.training.momentum
    best = keras_tuner.HyperParameters.from_config(fn_args.hyperparameters)
    return best.get("learning_rate"), best.get("momentum")
