"""What Trainer runs: trains one candidate with early stopping and exports it."""

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
import numpy as np
import tensorflow as tf

from knet.base import artifact_files, schema_names
from knet.base.digests import code_digest, file_digest, git_commit, text_digest
from knet.base.errors import UserError
from knet.base.progress import PROGRESS
from knet.models.calibration import Calibration, calibrate
from knet.models.callbacks import FiniteLoss, TrainingHistory, TrainingProgress
from knet.models.checkpoint import Checkpoint
from knet.models.export import export_model, model_outputs
from knet.models.hybrid import count_flops
from knet.models.model_info import ModelInfo, write_model_info
from knet.models.out_of_distribution import ClassGaussians, ImageLimits, ImageMeasurements
from knet.training.candidate import Candidate, apply_hyperparameters
from knet.training.dataset import TransformedSplit
from knet.training.devices import Devices, prepare_devices, start_from_seed
from knet.training.feature_cache import CachedSplit
from knet.training.training_setup import TrainingSetup


def run_fn(fn_args: Any) -> None:
    """Trains, restores the best epoch, and writes the SavedModel and, beside the logs, `model.keras`.

    `history.json` is there too, as `write_history` makes it. A training that was killed continues after its
    last whole epoch.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds `candidate`, a `Candidate` as JSON; `cache_root`, the
            folder for feature maps; `checkpoints`, that for the states of trainings; `fingerprint` and
            `split_sha256`, of the data.

    Raises:
        UserError: the loss became infinite or undefined, or memory ran out.
    """
    start = time.monotonic()
    learner = prepare_training(fn_args)
    candidate = learner.candidate
    learning_rate, momentum = candidate.training.learning_rate, candidate.training.momentum
    learning, model = learner.build(learning_rate=learning_rate, momentum=momentum)
    digests = _digests(learner, fn_args.custom_config)
    training = _begin(
        learner, fn_args, state=text_digest(*digests.values(), f"{_tuned(fn_args)} {learning.name}")
    )
    _fit(learning, learner, training, learning_rate=learning_rate)
    model = _plain(model, learner)
    decision = fit_postprocessing(
        model, learner, batch_size=_inference_batch_size(candidate, learner.devices.replicas)
    )
    _write_model(model, learner, training, decision, folder=Path(fn_args.model_run_dir))
    saved_model = Path(fn_args.serving_model_dir)
    export_model(
        model,
        saved_model,
        size=candidate.image.size,
        classes=candidate.classes,
        temperature=decision.calibration.temperature,
        threshold=decision.calibration.threshold,
        gaussians=decision.gaussians,
        limits=decision.limits,
    )
    info = ModelInfo(
        candidate=candidate.name,
        weights=Path(candidate.settings.weights).name,
        classes=candidate.classes,
        image_size=candidate.image.size,
        parameters=model.count_params(),
        flops=count_flops(model),
        train_images=learner.images.count,
        validation_images=learner.validation_images.count,
        epochs=len(training.history.epochs),
        learning_rate=learning_rate,
        momentum=momentum,
        tuned=_tuned(fn_args),
        seconds=time.monotonic() - start,
        calibration=decision.calibration,
        image_limits=decision.limits,
        rejected=decision.rejected,
        device=learner.devices.description,
        seed=candidate.seed,
        synthetic_data=candidate.synthetic_data,
        fingerprint=fn_args.custom_config["fingerprint"],
        split_sha256=fn_args.custom_config["split_sha256"],
        commit=git_commit(),
        **digests,
    )
    write_model_info(saved_model, info)
    training.checkpoint.remove()


def prepare_training(fn_args: Any) -> TrainingSetup:
    """What Trainer begins with: settings, devices, seed, images and, where they are kept, feature maps.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds `candidate` and `cache_root`.

    Raises:
        UserError: as `TrainingSetup` does.
    """
    candidate = Candidate.model_validate_json(fn_args.custom_config["candidate"])
    candidate = apply_hyperparameters(candidate, _tuned(fn_args))
    devices = prepare_devices(candidate.devices)
    start_from_seed(candidate.seed)
    train, validation = read_splits(fn_args, candidate)
    return TrainingSetup(
        candidate,
        devices=devices,
        train=train,
        validation=validation,
        cache_root=Path(fn_args.custom_config["cache_root"]),
    )


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
        "validation_data": validation.batches(batch_size=_inference_batch_size(candidate, replicas)),
        "initial_epoch": first_epoch,
        "epochs": training.epochs,
        "class_weight": candidate.class_weight(train.class_counts),
        "verbose": 0,
    }


def _inference_batch_size(candidate: Candidate, replicas: int) -> int:
    """How many images the devices hold at the same time."""
    training = candidate.training
    if training.micro_batch is None:
        return training.batch_size
    return min(training.micro_batch * replicas, training.batch_size)


@dataclass(frozen=True)
class _Training:
    """What looks after a training while it runs."""

    history: TrainingHistory
    stopping: keras.callbacks.EarlyStopping
    checkpoint: Checkpoint


def _begin(learner: TrainingSetup, fn_args: Any, *, state: str) -> _Training:
    """Finds what is left of the same training, if it was killed.

    Args:
        learner: what is trained.
        fn_args: TFX's.
        state: a digest of all that the result depends on, but weights file and precision.
    """
    candidate = learner.candidate
    weights = candidate.settings.weights_file
    started_from = file_digest(weights) if weights else candidate.settings.weights
    name = text_digest(state, started_from, learner.devices.precision)
    history = TrainingHistory(
        Path(fn_args.model_run_dir), images=learner.images.count * learner.images.copy_count
    )
    stopping = candidate.early_stopping()
    # Not in a folder of TFX's: the next attempt has others.
    file = Path(fn_args.custom_config["checkpoints"]) / candidate.name / f"{name}.npz"
    return _Training(history, stopping, Checkpoint(file, stopping=stopping, history=history))


def _fit(model: keras.Model, learner: TrainingSetup, training: _Training, *, learning_rate: float) -> None:
    candidate, devices = learner.candidate, learner.devices

    def explain(epoch: int, batch: int | None) -> UserError:
        return loss_error(
            candidate,
            learner.images,
            epoch=epoch,
            batch=batch,
            shuffle_buffer=learner.train.shuffle_buffer,
            learning_rate=learning_rate,
        )

    arguments = fit_arguments(
        candidate,
        learner.train,
        learner.validation,
        replicas=devices.replicas,
        first_epoch=training.checkpoint.first_epoch,
    )
    callbacks = [training.stopping, training.history, training.checkpoint, TrainingProgress()]
    try:
        model.fit(**arguments, callbacks=[FiniteLoss(explain), *callbacks])
    except tf.errors.ResourceExhaustedError as error:
        at_once = _inference_batch_size(candidate, devices.replicas) // devices.replicas
        remedy = f"set training.micro_batch={at_once // 2} or less" if at_once > 1 else "lower image.size"
        raise UserError(
            f"training {candidate.name}: {devices.description} ran out of memory with {at_once} images of "
            f"{candidate.image.size} px at once; {remedy}"
        ) from error


def _plain(model: keras.Model, learner: TrainingSetup) -> Any:
    """The model as it is served: on one device, in float32."""
    if learner.devices.replicas == 1 and learner.devices.precision == "float32":
        return model
    plain = learner.candidate.model(pixel_statistics=learner.images.pixel_statistics())
    plain.set_weights(model.get_weights())
    return plain


def _write_model(
    model: keras.Model, learner: TrainingSetup, training: _Training, decision: Postprocessing, *, folder: Path
) -> None:
    """Writes the `.keras` file, and how the training went."""
    model.save(folder / artifact_files.KERAS_MODEL)
    write_history(
        folder / artifact_files.HISTORY,
        training.history,
        confusion=decision.calibration.confusion,
        classes=learner.candidate.classes,
        best_epoch=int(training.stopping.best_epoch) + 1,
        resumed_after=training.checkpoint.first_epoch,
        devices=learner.devices,
    )


def _digests(learner: TrainingSetup, settings: dict[str, Any]) -> dict[str, str]:
    """What the model came of, by field of its account."""
    return {
        "examples_sha256": text_digest(learner.images.digest, learner.validation_images.digest),
        "candidate_sha256": text_digest(settings["candidate"]),
        "code_sha256": code_digest("knet.training.trainer"),
    }


def _tuned(fn_args: Any) -> dict[str, Any]:
    """What the Tuner chose, by name; nothing where there is none."""
    return fn_args.hyperparameters["values"] if fn_args.hyperparameters else {}


@dataclass(frozen=True)
class Postprocessing:
    """What stands between a model's logits and its answer."""

    calibration: Calibration
    gaussians: ClassGaussians
    limits: ImageLimits
    rejected: dict[str, float]  # the share of a split's images that are beyond the limits


def fit_postprocessing(model: keras.Model, learner: TrainingSetup, *, batch_size: int) -> Postprocessing:
    """Looks once at every image of both splits, as it is, and fits (docs/calibration.md).

    Args:
        model: the final one, in float32.
        learner: has the settings and both splits. Train fits the Gaussians and the limits on the pixels,
            validation temperature, threshold and the largest distance.
        batch_size: images that are computed at once.

    Raises:
        UserError: the model gives undefined values.
    """
    candidate = learner.candidate
    splits = {schema_names.TRAIN: learner.images, schema_names.VALIDATION: learner.validation_images}
    count = sum(split.count for split in splits.values())
    logging.getLogger(PROGRESS).info("the final model looks at %d train and validation images", count)
    outputs = model_outputs(
        model, {name: split.batches(batch_size=batch_size) for name, split in splits.items()}
    )
    for name in splits:
        if not (np.isfinite(outputs[name].logits).all() and np.isfinite(outputs[name].embeddings).all()):
            raise UserError(
                f"training {candidate.name}: the trained model gives undefined values on {name} images; "
                "lower training.learning_rate"
            )
    gaussians = ClassGaussians.fit(outputs[schema_names.TRAIN].embeddings, outputs[schema_names.TRAIN].labels)
    measured = {
        name: ImageMeasurements(*split.quality(), gaussians.distances(outputs[name].embeddings))
        for name, split in splits.items()
    }
    limits = ImageLimits.fit(
        measured[schema_names.TRAIN],
        measured[schema_names.VALIDATION],
        false_reject_rate=candidate.ood.false_reject_rate,
    )
    return Postprocessing(
        calibration=calibrate(
            outputs[schema_names.VALIDATION].logits,
            outputs[schema_names.VALIDATION].labels,
            settings=candidate.calibration,
        ),
        gaussians=gaussians,
        limits=limits,
        rejected={name: float(limits.rejects(images).mean()) for name, images in measured.items()},
    )


_NAMED = 20  # the log has the others


def loss_error(
    candidate: Candidate,
    train: TransformedSplit,
    *,
    epoch: int,
    batch: int | None,
    shuffle_buffer: int,
    learning_rate: float,
) -> UserError:
    """The error for a loss that is not finite, with the names of the batch's images.

    Args:
        candidate: that was trained.
        train: what on.
        epoch: in which it happened, from 0.
        batch: index of the batch; None if the loss is that of validation.
        shuffle_buffer: of the split that was trained on.
        learning_rate: at the start.
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
    rest = f" and {len(names) - _NAMED} more, which the log names" if len(names) > _NAMED else ""
    return UserError(
        f"training {candidate.name}: the loss is not finite in batch {batch + 1} of epoch {epoch + 1} "
        f"{remedy}, or look at its images: {', '.join(names[:_NAMED])}{rest}"
    )


def write_history(
    file: Path,
    history: TrainingHistory,
    *,
    confusion: Sequence[Sequence[int]],
    classes: tuple[str, str],
    best_epoch: int,
    resumed_after: int,
    devices: Devices,
) -> None:
    """Writes the history of a training, and draws the confusion matrix beside its curves.

    Args:
        file: where; it holds `epochs`, the rows of the history, and `confusion`, in which rows are true
            classes. `peak_memory_bytes` is of this process since it began, other nodes' work included.
        history: of the training.
        confusion: of the exported model on validation images.
        classes: the names of both.
        best_epoch: whose weights the final model has, from 1.
        resumed_after: epochs that an earlier process trained, 0 where there was none.
        devices: that it was trained on.
    """
    history.write_confusion(confusion, classes)
    tree = {
        "device": devices.description,
        "precision": devices.precision,
        # Linux counts KiB.
        "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "best_epoch": best_epoch,
        "resumed_after": resumed_after,
        "classes": classes,
        "confusion": confusion,
        "epochs": history.epochs,
    }
    file.write_text(json.dumps(tree, indent=2), encoding="utf-8")
