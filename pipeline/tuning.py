"""What Tuner runs: searches learning rate and momentum on one candidate."""

from __future__ import annotations

from typing import Any

import keras
import keras_tuner
from tfx.components.tuner.component import TunerFnResult

from pipeline.candidate import Candidate
from pipeline.config import TuningConfig
from pipeline.dataset import TransformedSplit
from pipeline.models.training_progress import TrainingProgress
from pipeline.training import make_reproducible, steps_per_epoch


def tuner_fn(fn_args: Any) -> TunerFnResult:
    """Bayesian search for the lowest validation loss.

    Args:
        fn_args: TFX's FnArgs; `custom_config` holds a `Candidate`, whose epochs are those of a trial, and a
            `TuningConfig` as JSON.
    """
    candidate = Candidate.model_validate_json(fn_args.custom_config["candidate"])
    tuning = TuningConfig.model_validate_json(fn_args.custom_config["tuning"])
    make_reproducible(candidate.seed)
    train = TransformedSplit(fn_args.train_files, size=candidate.image.size)
    validation = TransformedSplit(fn_args.eval_files, size=candidate.image.size)

    pixel_statistics = train.pixel_statistics()

    def build(trial: keras_tuner.HyperParameters) -> keras.Model:
        rate, momentum = tuning.learning_rate, tuning.momentum
        return candidate.build(
            pixel_statistics=pixel_statistics,
            learning_rate=trial.Float("learning_rate", rate.low, rate.high, sampling="log"),
            momentum=trial.Float("momentum", momentum.low, momentum.high),
            steps_per_epoch=steps_per_epoch(train, candidate),
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
    batch_size = candidate.training.batch_size
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs={
            "x": train.training_batches(
                batch_size=batch_size, augmentation=candidate.training.augmentation, seed=candidate.seed
            ),
            "validation_data": validation.batches(batch_size=batch_size),
            "epochs": candidate.training.epochs,
            "callbacks": [*candidate.callbacks(), TrainingProgress()],
            "verbose": 0,
        },
    )
