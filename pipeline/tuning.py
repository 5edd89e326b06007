"""What Tuner runs: searches learning rate and momentum on one candidate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import keras_tuner
from tfx.components.tuner.component import TunerFnResult

from pipeline.candidate import Candidate
from pipeline.config import TuningConfig
from pipeline.devices import prepare_devices
from pipeline.learner import Learner
from pipeline.models.training_progress import TrainingProgress
from pipeline.start_from_seed import start_from_seed
from pipeline.training import fit_arguments, read_splits


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """Bayesian search for the lowest validation loss.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds a `Candidate`, whose epochs are those of a trial, a
            `TuningConfig`, both as JSON, and `cache_root`, the folder for feature maps.
    """
    candidate = Candidate.model_validate_json(fn_args.custom_config["candidate"])
    tuning = TuningConfig.model_validate_json(fn_args.custom_config["tuning"])
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

    def build(trial: keras_tuner.HyperParameters) -> keras.Model:
        rate, momentum = tuning.learning_rate, tuning.momentum
        learning, _ = learner.build(
            learning_rate=trial.Float("learning_rate", rate.low, rate.high, sampling="log"),
            momentum=trial.Float("momentum", momentum.low, momentum.high),
        )
        return learning

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
            **fit_arguments(candidate, learner.train, learner.validation, replicas=devices.replicas),
            "callbacks": [
                keras.callbacks.TerminateOnNaN(),
                candidate.early_stopping(),
                TrainingProgress(),
            ],
        },
    )
