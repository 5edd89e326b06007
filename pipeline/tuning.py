"""What Tuner runs: searches learning rate and momentum on one candidate."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner
from tfx.components.tuner.component import TunerFnResult

from pipeline.candidate import Candidate
from pipeline.config import TuningConfig
from pipeline.dataset import TransformedSplit
from pipeline.devices import prepare_devices
from pipeline.models.training_progress import TrainingProgress
from pipeline.training import fit_arguments, start_from_seed


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """Bayesian search for the lowest validation loss.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds a `Candidate`, whose epochs are those of a trial, and a
            `TuningConfig` as JSON.
    """
    candidate = Candidate.model_validate_json(fn_args.custom_config["candidate"])
    tuning = TuningConfig.model_validate_json(fn_args.custom_config["tuning"])
    devices = prepare_devices(candidate.devices)
    start_from_seed(candidate.seed)
    train = TransformedSplit(fn_args.train_files, size=candidate.image.size)
    validation = TransformedSplit(fn_args.eval_files, size=candidate.image.size)

    pixel_statistics = train.pixel_statistics()

    def build(trial: keras_tuner.HyperParameters) -> keras.Model:
        rate, momentum = tuning.learning_rate, tuning.momentum
        return candidate.build(
            devices=devices,
            pixel_statistics=pixel_statistics,
            learning_rate=trial.Float("learning_rate", rate.low, rate.high, sampling="log"),
            momentum=trial.Float("momentum", momentum.low, momentum.high),
            images=candidate.images_per_epoch(train.count),
        )

    tuner = keras_tuner.BayesianOptimization(
        build,
        objective="val_loss",
        max_trials=tuning.trials,
        seed=candidate.seed,
        directory=fn_args.working_dir,
        project_name="trials",
        overwrite=True,
    )
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs={
            **fit_arguments(candidate, train, validation, replicas=devices.replicas),
            "callbacks": [
                keras.callbacks.TerminateOnNaN(),
                candidate.early_stopping(),
                TrainingProgress(),
            ],
        },
    )
