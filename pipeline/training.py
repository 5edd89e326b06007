"""What Trainer runs: trains one candidate with early stopping and exports it."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline.candidate import Candidate
from pipeline.commit import commit
from pipeline.dataset import TransformedSplit
from pipeline.devices import prepare_devices
from pipeline.digest import code_digest, file_digest, text_digest
from pipeline.errors import UserError
from pipeline.feature_cache.cached_split import CachedSplit
from pipeline.fit_decision import Decision, fit_decision
from pipeline.learner import Learner
from pipeline.loss_error import loss_error
from pipeline.model_info import ModelInfo, write_model_info
from pipeline.models.checkpoint import Checkpoint
from pipeline.models.count_flops import count_flops
from pipeline.models.export_model import export_model
from pipeline.models.finite_loss import FiniteLoss
from pipeline.models.training_history import TrainingHistory
from pipeline.models.training_progress import TrainingProgress
from pipeline.start_from_seed import start_from_seed
from pipeline.tuning.with_hyperparameters import with_hyperparameters
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
    learner = prepare_learner(fn_args)
    candidate = learner.candidate
    learning_rate, momentum = candidate.training.learning_rate, candidate.training.momentum
    learning, model = learner.build(learning_rate=learning_rate, momentum=momentum)
    digests = _digests(learner, fn_args.custom_config)
    training = _begin(
        learner, fn_args, state=text_digest(*digests.values(), f"{_tuned(fn_args)} {learning.name}")
    )
    _fit(learning, learner, training, learning_rate=learning_rate)
    model = _plain(model, learner)
    decision = fit_decision(model, learner, batch_size=_at_once(candidate, learner.devices.replicas))
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
        commit=commit(),
        **digests,
    )
    write_model_info(saved_model, info)
    training.checkpoint.remove()


def prepare_learner(fn_args: Any) -> Learner:
    """What Trainer begins with: settings, devices, seed, images and, where they are kept, feature maps.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds `candidate` and `cache_root`.

    Raises:
        UserError: as `Learner` does.
    """
    candidate = Candidate.model_validate_json(fn_args.custom_config["candidate"])
    candidate = with_hyperparameters(candidate, _tuned(fn_args))
    devices = prepare_devices(candidate.devices)
    start_from_seed(candidate.seed)
    train, validation = read_splits(fn_args, candidate)
    return Learner(
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


@dataclass(frozen=True)
class _Training:
    """What looks after a training while it runs."""

    history: TrainingHistory
    stopping: keras.callbacks.EarlyStopping
    checkpoint: Checkpoint


def _begin(learner: Learner, fn_args: Any, *, state: str) -> _Training:
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


def _fit(model: keras.Model, learner: Learner, training: _Training, *, learning_rate: float) -> None:
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
        at_once = _at_once(candidate, devices.replicas) // devices.replicas
        remedy = f"set training.micro_batch={at_once // 2} or less" if at_once > 1 else "lower image.size"
        raise UserError(
            f"training {candidate.name}: {devices.description} ran out of memory with {at_once} images of "
            f"{candidate.image.size} px at once; {remedy}"
        ) from error


def _plain(model: keras.Model, learner: Learner) -> Any:
    """The model as it is served: on one device, in float32."""
    if learner.devices.replicas == 1 and learner.devices.precision == "float32":
        return model
    plain = learner.candidate.model(pixel_statistics=learner.images.pixel_statistics())
    plain.set_weights(model.get_weights())
    return plain


def _write_model(
    model: keras.Model, learner: Learner, training: _Training, decision: Decision, *, folder: Path
) -> None:
    """Writes the `.keras` file, and how the training went."""
    model.save(folder / "model.keras")
    write_history(
        folder / "history.json",
        training.history,
        confusion=decision.calibration.confusion,
        classes=learner.candidate.classes,
        best_epoch=int(training.stopping.best_epoch) + 1,
        resumed_after=training.checkpoint.first_epoch,
        devices=learner.devices,
    )


def _digests(learner: Learner, settings: dict[str, Any]) -> dict[str, str]:
    """What the model came of, by field of its account."""
    return {
        "examples_sha256": text_digest(learner.images.digest, learner.validation_images.digest),
        "candidate_sha256": text_digest(settings["candidate"]),
        "code_sha256": code_digest("pipeline.training"),
    }


def _tuned(fn_args: Any) -> dict[str, Any]:
    """What the Tuner chose, by name; nothing where there is none."""
    return fn_args.hyperparameters["values"] if fn_args.hyperparameters else {}
