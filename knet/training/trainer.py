"""Trainer: fit one candidate with early stopping, calibrate it and export it."""

from __future__ import annotations

import json
import logging
import math
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from knet.base import artifact_files
from knet.base.digests import file_digest, git_commit, text_digest
from knet.base.errors import UserError
from knet.models.callbacks import EarlyStopping, FiniteLoss, Snapshots, TrainingHistory, TrainingProgress
from knet.models.checkpoint import Checkpoint
from knet.models.export import export_model
from knet.models.hybrid import count_flops
from knet.models.model_info import ModelInfo, write_model_info
from knet.training.candidate import Candidate, apply_hyperparameters
from knet.training.dataset import TransformedSplit
from knet.training.devices import Devices, prepare_devices, start_from_seed
from knet.training.feature_cache import CachedSplit
from knet.training.memory import memory_errors
from knet.training.postprocessing import Postprocessing, fit_postprocessing
from knet.training.training_setup import TrainingSetup


def run_fn(fn_args: Any) -> None:
    """Train, restore the best epoch, and write the SavedModel, `model.keras` and `history.json`.

    A training that was killed resumes after its last complete epoch.

    Args:
        fn_args: TFX's FnArgs. `custom_config` holds `candidate`, a `Candidate` as JSON; `cache_root`, the
            folder of the feature cache; `checkpoints`, the folder of the checkpoints; `fingerprint`,
            `split_sha256` and `split_unit` of the data.

    Raises:
        UserError: the loss is not finite, or memory ran out.
    """
    start = time.monotonic()
    setup = prepare_training(fn_args)
    with memory_errors(setup.candidate, setup.devices, task="training"):
        _train_and_export(setup, fn_args, start=start)


def _train_and_export(setup: TrainingSetup, fn_args: Any, *, start: float) -> None:
    candidate = setup.candidate
    learning_rate, momentum = candidate.training.learning_rate, candidate.training.momentum
    trainable, model = setup.build(learning_rate=learning_rate, momentum=momentum)
    digests = _digests(setup, fn_args.custom_config)
    training = _load_state(
        model,
        setup,
        fn_args,
        inputs=text_digest(*digests.values(), f"{_tuned_values(fn_args)} {trainable.name}"),
    )
    _fit(trainable, setup, training, learning_rate=learning_rate)
    model = _served_model(model, setup)
    postprocessing = fit_postprocessing(
        model, setup, batch_size=_inference_batch_size(candidate, setup.devices.replicas)
    )
    _write_model(model, setup, training, postprocessing, folder=Path(fn_args.model_run_dir))
    saved_model = Path(fn_args.serving_model_dir)
    export_model(
        model,
        saved_model,
        size=candidate.image.size,
        classes=candidate.classes,
        temperature=postprocessing.calibration.temperature,
        threshold=postprocessing.calibration.threshold,
        gaussians=postprocessing.gaussians,
        limits=postprocessing.limits,
        positive=candidate.positive_labels,
        max_pixels=candidate.image.max_pixels,
    )
    info = ModelInfo(
        candidate=candidate.name,
        backbone=candidate.backbone,
        head=candidate.head.variant,
        optimizer=candidate.training.optimizer,
        loss=candidate.training.loss,
        weights=Path(candidate.settings.weights).name,
        classes=candidate.classes,
        positive=candidate.positive,
        image_size=candidate.image.size,
        parameters=model.count_params(),
        flops=count_flops(model),
        train_images=setup.raw_train.count,
        validation_images=setup.raw_validation.count,
        epochs=training.stopped_after or len(training.history.epochs),
        learning_rate=learning_rate,
        momentum=momentum if candidate.training.optimizer == "sgd" else None,
        weight_decay=candidate.training.weight_decay if candidate.training.optimizer == "adamw" else None,
        tuned=_tuned_values(fn_args),
        seconds=time.monotonic() - start,
        calibration=postprocessing.calibration,
        image_limits=postprocessing.limits,
        rejected=postprocessing.rejected,
        device=setup.devices.description,
        seed=candidate.seed,
        synthetic_data=candidate.synthetic_data,
        fingerprint=fn_args.custom_config["fingerprint"],
        split_sha256=fn_args.custom_config["split_sha256"],
        split_unit=fn_args.custom_config["split_unit"],
        commit=git_commit(),
        **digests,
    )
    write_model_info(saved_model, info)
    training.checkpoint.remove()
    training.snapshots.remove()


def prepare_training(fn_args: Any) -> TrainingSetup:
    """Prepare devices, generators and data of a training.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds `candidate` and `cache_root`.

    Raises:
        UserError: the candidate requires a feature cache, which is impossible, its weights are not usable, or
            memory ran out.
    """
    candidate = Candidate.model_validate_json(fn_args.custom_config["candidate"])
    candidate = apply_hyperparameters(candidate, _tuned_values(fn_args))
    devices = prepare_devices(candidate.devices)
    start_from_seed(candidate.seed)
    train, validation = read_splits(fn_args, candidate)
    with memory_errors(candidate, devices, task="training"):  # feature maps are computed here
        return TrainingSetup(
            candidate,
            devices=devices,
            train=train,
            validation=validation,
            cache_root=Path(fn_args.custom_config["cache_root"]),
        )


def read_splits(fn_args: Any, candidate: Candidate) -> tuple[TransformedSplit, TransformedSplit]:
    """Return the train split, with its augmentations, and the validation split.

    Args:
        fn_args: TFX's FnArgs.
        candidate: has image size and augmentations.
    """
    size, training = candidate.image.size, candidate.training
    train = TransformedSplit(
        fn_args.train_files,
        size=size,
        offline_augmentations=training.augmentation,
        random_augmentation=training.random_augmentation,
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
    """Return the arguments of `keras.Model.fit` that Trainer and Tuner share.

    Args:
        candidate: has batch sizes, epochs, seed and class weights.
        train: training inputs.
        validation: validation inputs.
        replicas: devices that share a batch.
        first_epoch: to train, from 0.
    """
    training = candidate.training
    return {
        "x": train.training_batches(
            batch_size=training.batch_size,
            seed=candidate.seed,
            epochs=range(first_epoch, training.epochs),
        ),
        "steps_per_epoch": math.ceil(train.count * train.view_count / training.batch_size),
        "validation_data": validation.batches(batch_size=_inference_batch_size(candidate, replicas)),
        "initial_epoch": first_epoch,
        "epochs": training.epochs,
        "class_weight": candidate.class_weight(train.class_counts),
        "verbose": 0,
    }


def _inference_batch_size(candidate: Candidate, replicas: int) -> int:
    """Return the images that all devices together hold at once."""
    training = candidate.training
    if training.micro_batch is None:
        return training.batch_size
    return min(training.micro_batch * replicas, training.batch_size)


@dataclass(frozen=True)
class _TrainingState:
    """Callbacks that hold the state of a training."""

    history: TrainingHistory
    stopping: EarlyStopping
    snapshots: Snapshots
    checkpoint: Checkpoint

    @property
    def stopped_after(self) -> int | None:
        """Epochs trained when early stopping stopped; None if it did not."""
        epochs = self.stopping.stopped_after  # a float if a checkpoint was read
        return None if epochs is None else int(epochs)


def _load_state(model: keras.Model, setup: TrainingSetup, fn_args: Any, *, inputs: str) -> _TrainingState:
    """Load the checkpoint of the same training if one was killed, otherwise start at epoch 0.

    Args:
        model: the whole model.
        setup: the training.
        fn_args: TFX's FnArgs.
        inputs: digest of everything that the result depends on, except weights file and precision.
    """
    candidate = setup.candidate
    weights = candidate.settings.weights_file
    initial = file_digest(weights) if weights else candidate.settings.weights
    name = text_digest(inputs, initial, setup.devices.precision)
    train = setup.raw_train
    history = TrainingHistory(Path(fn_args.model_run_dir), images=train.count * train.view_count)
    epochs = candidate.training.snapshots
    stopping = candidate.early_stopping(train_until=max(epochs, default=0))
    # Outside TFX's output folders, which another execution does not share.
    file = Path(fn_args.custom_config["checkpoints"]) / candidate.name / f"{name}.npz"
    checkpoint = Checkpoint(file, stopping=stopping, history=history)
    return _TrainingState(
        history, stopping, Snapshots(model, epochs, folder=file.with_suffix("")), checkpoint
    )


def _fit(model: keras.Model, setup: TrainingSetup, training: _TrainingState, *, learning_rate: float) -> None:
    candidate, devices = setup.candidate, setup.devices

    def make_error(epoch: int, batch: int | None) -> UserError:
        return loss_error(
            candidate,
            setup.raw_train,
            epoch=epoch,
            batch=batch,
            shuffle_buffer=setup.train.shuffle_buffer,
            learning_rate=learning_rate,
        )

    arguments = fit_arguments(
        candidate,
        setup.train,
        setup.validation,
        replicas=devices.replicas,
        first_epoch=training.checkpoint.first_epoch,
    )
    state = [training.stopping, training.history, training.snapshots, training.checkpoint]
    model.fit(**arguments, callbacks=[FiniteLoss(make_error), *state, TrainingProgress()])


def _served_model(model: keras.Model, setup: TrainingSetup) -> Any:
    """Return the model for serving, on one device in float32."""
    if setup.devices.replicas == 1 and setup.devices.precision == "float32":
        return model
    served = setup.candidate.model(pixel_statistics=setup.raw_train.pixel_statistics())
    served.set_weights(model.get_weights())
    return served


def _write_model(
    model: keras.Model,
    setup: TrainingSetup,
    training: _TrainingState,
    postprocessing: Postprocessing,
    *,
    folder: Path,
) -> None:
    """Write `model.keras`, the snapshots and `history.json`."""
    model.save(folder / artifact_files.KERAS_MODEL)
    training.snapshots.copy_to(folder)
    write_history(
        folder / artifact_files.HISTORY,
        training.history,
        confusion=postprocessing.calibration.confusion,
        classes=setup.candidate.classes,
        best_epoch=int(training.stopping.best_epoch) + 1,
        stopped_after=training.stopped_after,
        resumed_after=training.checkpoint.first_epoch,
        devices=setup.devices,
    )


def _digests(setup: TrainingSetup, settings: dict[str, Any]) -> dict[str, str]:
    """Return the digests of examples, settings and code, by field of `ModelInfo`."""
    return {
        "examples_sha256": text_digest(setup.raw_train.digest, setup.raw_validation.digest),
        "candidate_sha256": text_digest(settings["candidate"]),
        "code_sha256": setup.candidate.code_digest("knet.training.trainer"),
    }


def _tuned_values(fn_args: Any) -> dict[str, Any]:
    """Return the hyperparameters chosen by the Tuner, by name; empty without a Tuner."""
    return fn_args.hyperparameters["values"] if fn_args.hyperparameters else {}


def loss_error(
    candidate: Candidate,
    train: TransformedSplit,
    *,
    epoch: int,
    batch: int | None,
    shuffle_buffer: int,
    learning_rate: float,
) -> UserError:
    """Return the error for a loss that is not finite, with the paths of the batch's images.

    Args:
        candidate: the settings.
        train: training images.
        epoch: number of the epoch, from 0.
        batch: number of the batch in the epoch, from 0; None: the validation loss.
        shuffle_buffer: of the split that was trained on, `train` or its cached feature maps.
        learning_rate: initial learning rate.
    """
    remedy = (
        f"with learning rate {learning_rate:g}; lower training.learning_rate or tuning.learning_rate.high"
    )
    if batch is None:
        return UserError(
            f"training {candidate.name}: the validation loss is not finite after epoch {epoch + 1} {remedy}"
        )
    names = train.image_names(
        batch=batch,
        batch_size=candidate.training.batch_size,
        seed=candidate.seed,
        epoch=epoch,
        shuffle_buffer=shuffle_buffer,
    )
    logging.getLogger(__name__).error("the loss is not finite at the images %s", ", ".join(names))
    rest = f" and {len(names) - _MAX_NAMES} more, see the log" if len(names) > _MAX_NAMES else ""
    return UserError(
        f"training {candidate.name}: the loss is not finite in batch {batch + 1} of epoch {epoch + 1} "
        f"{remedy}, or look at its images: {', '.join(names[:_MAX_NAMES])}{rest}"
    )


_MAX_NAMES = 20  # of images in the error


def write_history(
    file: Path,
    history: TrainingHistory,
    *,
    confusion: Sequence[Sequence[int]],
    classes: Sequence[str],
    best_epoch: int,
    stopped_after: int | None,
    resumed_after: int,
    devices: Devices,
) -> None:
    """Write the history of a training as JSON, and the confusion matrix to TensorBoard.

    `peak_memory_bytes` is that of the process, which in local runs has executed other nodes before.

    Args:
        file: destination.
        history: the epochs.
        confusion: validation images by true class (rows) and predicted class (columns).
        classes: names in the order of the labels.
        best_epoch: epoch of the final weights, from 1.
        stopped_after: epochs trained when early stopping stopped; None if it did not.
        resumed_after: epochs trained by an earlier process.
        devices: of the training.
    """
    history.write_confusion(confusion, classes)
    tree = {
        "device": devices.description,
        "precision": devices.precision,
        # Linux reports KiB.
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "best_epoch": best_epoch,
        "stopped_after": stopped_after,
        "resumed_after": resumed_after,
        "classes": classes,
        "confusion": confusion,
        "epochs": history.epochs,
    }
    file.write_text(json.dumps(tree, indent=2), encoding="utf-8")
