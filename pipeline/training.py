"""What Trainer runs: trains one candidate with early stopping and exports it."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from pipeline.candidate import Candidate
from pipeline.dataset import TransformedSplit
from pipeline.devices import Devices, prepare_devices
from pipeline.errors import UserError
from pipeline.feature_cache.cached_split import CachedSplit
from pipeline.learner import Learner
from pipeline.model_info import ModelInfo, write_model_info
from pipeline.models.export_model import export_model
from pipeline.models.training_progress import TrainingProgress
from pipeline.start_from_seed import start_from_seed


def run_fn(fn_args: Any) -> None:
    """Trains, restores the best epoch, and writes the SavedModel and, beside the logs, `model.keras`.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds `candidate`, a `Candidate` as JSON, and `cache_root`, the
            folder for feature maps.

    Raises:
        UserError: the loss became infinite or undefined.
    """
    start = time.monotonic()
    candidate = Candidate.model_validate_json(fn_args.custom_config["candidate"])
    devices = prepare_devices(candidate.devices)
    start_from_seed(candidate.seed)
    train, validation = read_splits(fn_args, candidate)
    learner = Learner(
        candidate,
        devices=devices,
        train=train,
        validation=validation,
        cache_root=Path(fn_args.custom_config["cache_root"]),
    )
    learning_rate, momentum = _hyperparameters(fn_args, candidate)
    learning, model = learner.build(learning_rate=learning_rate, momentum=momentum)
    history = learning.fit(
        **fit_arguments(candidate, learner.train, learner.validation, replicas=devices.replicas),
        callbacks=[
            *candidate.callbacks(),
            keras.callbacks.TensorBoard(fn_args.model_run_dir),
            TrainingProgress(),
        ],
    ).history
    if not all(math.isfinite(loss) for loss in history["loss"] + history.get("val_loss", [])):
        raise UserError(
            f"training {candidate.name}: the loss is not finite after {len(history['loss'])} epochs "
            f"with learning rate {learning_rate:g}; lower training.learning_rate or tuning.learning_rate.high"
        )
    model = _plain(model, candidate, train, devices)
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
        device=devices.description,
        seed=candidate.seed,
        synthetic_data=candidate.synthetic_data,
    )
    write_model_info(saved_model, info)


def read_splits(fn_args: Any, candidate: Candidate) -> tuple[TransformedSplit, TransformedSplit]:
    """The train split, whose images alone are augmented, and the validation split."""
    size, training = candidate.image.size, candidate.training
    train = TransformedSplit(
        fn_args.train_files, size=size, copies=training.augmentation, changes=training.random_augmentation
    )
    return train, TransformedSplit(fn_args.eval_files, size=size)


def fit_arguments(
    candidate: Candidate,
    train: TransformedSplit | CachedSplit,
    validation: TransformedSplit | CachedSplit,
    *,
    replicas: int,
) -> dict[str, Any]:
    """What `fit` of Trainer and Tuner takes alike."""
    training = candidate.training
    at_once = training.batch_size if training.micro_batch is None else training.micro_batch * replicas
    return {
        "x": train.training_batches(
            batch_size=training.batch_size, seed=candidate.seed, epochs=range(training.epochs)
        ),
        "steps_per_epoch": -(-train.count * train.copy_count // training.batch_size),
        "validation_data": validation.batches(batch_size=min(at_once, training.batch_size)),
        "epochs": training.epochs,
        "class_weight": candidate.class_weight(train.class_counts),
        "verbose": 0,
    }


def _plain(model: keras.Model, candidate: Candidate, train: TransformedSplit, devices: Devices) -> Any:
    """The model as it is served: on one device, in float32."""
    if devices.replicas == 1 and devices.precision == "float32":
        return model
    plain = candidate.model(pixel_statistics=train.pixel_statistics())
    plain.set_weights(model.get_weights())
    return plain


def _hyperparameters(fn_args: Any, candidate: Candidate) -> tuple[float, float]:
    """The Tuner's learning rate and momentum where it ran, else the configured ones."""
    if not fn_args.hyperparameters:
        return candidate.training.learning_rate, candidate.training.momentum
    best = keras_tuner.HyperParameters.from_config(fn_args.hyperparameters)
    return best.get("learning_rate"), best.get("momentum")
