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
from pipeline.commit import commit
from pipeline.dataset import TransformedSplit
from pipeline.devices import Devices, prepare_devices
from pipeline.digest import code_digest, file_digest, text_digest
from pipeline.errors import UserError
from pipeline.feature_cache.cached_split import CachedSplit
from pipeline.learner import Learner
from pipeline.loss_error import loss_error
from pipeline.model_info import ModelInfo, write_model_info
from pipeline.models.checkpoint import Checkpoint
from pipeline.models.export_model import export_model
from pipeline.models.finite_loss import FiniteLoss
from pipeline.models.training_history import TrainingHistory
from pipeline.models.training_progress import TrainingProgress
from pipeline.start_from_seed import start_from_seed
from pipeline.write_history import write_history


def run_fn(fn_args: Any) -> None:
    """Trains, restores the best epoch, and writes the SavedModel and, beside the logs, `model.keras`.

    `history.json` is there too, as `write_history` makes it. A training that was killed goes on after its
    last whole epoch.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds `candidate`, a `Candidate` as JSON; `cache_root`, the
            folder for feature maps; `checkpoints`, that for the states of trainings; `fingerprint` and
            `split_sha256`, of the data.

    Raises:
        UserError: the loss became infinite or undefined, or memory ran out.
    """
    start = time.monotonic()
    settings = fn_args.custom_config
    candidate = Candidate.model_validate_json(settings["candidate"])
    devices = prepare_devices(candidate.devices)
    start_from_seed(candidate.seed)
    train, validation = read_splits(fn_args, candidate)
    learner = Learner(
        candidate,
        devices=devices,
        train=train,
        validation=validation,
        cache_root=Path(settings["cache_root"]),
    )
    learning_rate, momentum = _hyperparameters(fn_args, candidate)
    digests = {
        "examples_sha256": text_digest(train.digest, validation.digest),
        "candidate_sha256": text_digest(settings["candidate"]),
        "code_sha256": code_digest("pipeline.training"),
    }
    learning, model = learner.build(learning_rate=learning_rate, momentum=momentum)
    logs = Path(fn_args.model_run_dir)
    history = TrainingHistory(logs, images=train.count * train.copy_count)
    stopping = candidate.early_stopping()
    weights = candidate.settings.weights_file
    started_from = file_digest(weights) if weights else candidate.settings.weights
    # Not in a folder of TFX's: the next attempt has others.
    state = text_digest(
        *digests.values(), started_from, f"{learning_rate} {momentum} {devices.precision} {learning.name}"
    )
    checkpoint = Checkpoint(
        Path(settings["checkpoints"]) / candidate.name / f"{state}.npz", stopping=stopping, history=history
    )
    finite = FiniteLoss(
        lambda epoch, batch: loss_error(
            candidate,
            train,
            epoch=epoch,
            batch=batch,
            shuffle_buffer=learner.train.shuffle_buffer,
            learning_rate=learning_rate,
        )
    )
    _fit(
        learning,
        candidate,
        devices,
        **fit_arguments(
            candidate,
            learner.train,
            learner.validation,
            replicas=devices.replicas,
            first_epoch=checkpoint.first_epoch,
        ),
        callbacks=[finite, stopping, history, checkpoint, TrainingProgress()],
    )
    model = _plain(model, candidate, train, devices)
    model.save(logs / "model.keras")
    write_history(
        logs / "history.json",
        history,
        model=model,
        validation=validation.batches(batch_size=_at_once(candidate, devices.replicas)),
        classes=candidate.classes,
        best_epoch=int(stopping.best_epoch) + 1,
        resumed_after=checkpoint.first_epoch,
        devices=devices,
    )
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
        epochs=len(history.epochs),
        learning_rate=learning_rate,
        momentum=momentum,
        seconds=time.monotonic() - start,
        device=devices.description,
        seed=candidate.seed,
        synthetic_data=candidate.synthetic_data,
        fingerprint=settings["fingerprint"],
        split_sha256=settings["split_sha256"],
        commit=commit(),
        **digests,
    )
    write_model_info(saved_model, info)
    checkpoint.remove()


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
    first_epoch: int = 0,
) -> dict[str, Any]:
    """What `fit` of Trainer and Tuner takes alike."""
    training = candidate.training
    return {
        "x": train.training_batches(
            batch_size=training.batch_size,
            seed=candidate.seed,
            epochs=range(first_epoch, training.epochs),
        ),
        "steps_per_epoch": math.ceil(train.count * train.copy_count / training.batch_size),
        "validation_data": validation.batches(batch_size=_at_once(candidate, replicas)),
        "initial_epoch": first_epoch,
        "epochs": training.epochs,
        "class_weight": candidate.class_weight(train.class_counts),
        "verbose": 0,
    }


def _at_once(candidate: Candidate, replicas: int) -> int:
    """How many images the devices hold at the same time."""
    training = candidate.training
    if training.micro_batch is None:
        return training.batch_size
    return min(training.micro_batch * replicas, training.batch_size)


def _fit(model: keras.Model, candidate: Candidate, devices: Devices, **arguments: Any) -> None:
    try:
        model.fit(**arguments)
    except tf.errors.ResourceExhaustedError as error:
        at_once = _at_once(candidate, devices.replicas) // devices.replicas
        remedy = f"set training.micro_batch={at_once // 2} or less" if at_once > 1 else "lower image.size"
        raise UserError(
            f"training {candidate.name}: {devices.description} ran out of memory with {at_once} images of "
            f"{candidate.image.size} px at once; {remedy}"
        ) from error


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
