"""Trains one arm on one fold, and asks it about the fold's test images."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from pipeline.candidate import Candidate
from pipeline.devices import prepare_devices
from pipeline.errors import UserError
from pipeline.experiments.fold_splits import FoldSplits
from pipeline.experiments.outcome import Outcome
from pipeline.learner import Learner
from pipeline.models.training_progress import TrainingProgress
from pipeline.start_from_seed import start_from_seed
from pipeline.training import fit_arguments

_AT_ONCE = 32


def train_arm(
    candidate: Candidate, splits: FoldSplits, *, learning_rates: Sequence[float], cache_root: Path
) -> Outcome:
    """Trains once for each learning rate, with early stopping, and keeps the best on validation patients.

    Test images are looked at once, by the model that was chosen, from pixels to probability.

    Args:
        candidate: what is trained.
        splits: of the fold.
        learning_rates: to try.
        cache_root: the folder for feature maps.
    """
    start = time.monotonic()
    start_from_seed(candidate.seed)
    learner = Learner(
        candidate,
        devices=prepare_devices(candidate.devices),
        train=splits.train,
        validation=splits.validation,
        cache_root=cache_root,
    )
    trials: list[dict[str, float]] = []
    chosen: list[np.ndarray] = []
    for rate in learning_rates:
        trial, model = _train(learner, rate)
        trials.append(trial)
        if trial is min(trials, key=lambda one: one["val_loss"]):
            chosen = model.get_weights()
    best = min(trials, key=lambda one: one["val_loss"])
    if not math.isfinite(best["val_loss"]):
        raise UserError(
            f"training {candidate.name}: the loss is not finite with any learning rate of {learning_rates}; "
            "lower them"
        )
    model.set_weights(chosen)
    scores = model.predict(splits.test.batches(batch_size=_AT_ONCE), verbose=0)[:, 1]
    return Outcome(
        chosen={name: best[name] for name in ("learning_rate", "best_epoch")},
        trials=tuple(trials),
        scores=tuple(map(float, scores)),
        seconds=time.monotonic() - start,
        device=learner.devices.description,
    )


def _train(learner: Learner, learning_rate: float) -> tuple[dict[str, float], keras.Model]:
    """How one training ended, and the whole model with the weights of its best epoch."""
    candidate = learner.candidate
    start_from_seed(candidate.seed)
    learning, model = learner.build(learning_rate=learning_rate, momentum=candidate.training.momentum)
    stopping = candidate.early_stopping()
    history = learning.fit(
        **fit_arguments(candidate, learner.train, learner.validation, replicas=learner.devices.replicas),
        callbacks=[keras.callbacks.TerminateOnNaN(), stopping, TrainingProgress()],
    )
    losses = history.history["val_loss"]
    trial = {
        "learning_rate": learning_rate,
        "epochs": len(losses),
        "best_epoch": stopping.best_epoch + 1,
        "val_loss": min(losses) if np.isfinite(losses).all() else math.inf,
    }
    return trial, model
