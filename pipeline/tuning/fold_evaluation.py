"""Judges hyperparameters by what they come to on training patients that are held out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.candidate import Candidate
from pipeline.dataset import TransformedSplit
from pipeline.devices import prepare_devices
from pipeline.tuning.fold_trainer import FoldTrainer
from pipeline.tuning.grouped_folds import grouped_folds
from pipeline.tuning.objective import score
from pipeline.tuning.search_plan import SearchPlan, TrialError
from pipeline.tuning.with_hyperparameters import with_hyperparameters


class FoldEvaluation:
    """The mean of the objective over the folds."""

    def __init__(self, plan: SearchPlan) -> None:
        """Reads whose the images are.

        Args:
            plan: its `arguments` hold `train_files`, patterns of the transformed training examples, and
                `cache_root`, the folder for feature maps.

        Raises:
            UserError: a class has too few patients.
        """
        candidate, tuning = plan.candidate, plan.tuning
        self._objective = tuning.objective
        self._cache_root = Path(plan.arguments["cache_root"])
        self._devices = prepare_devices(candidate.devices)
        training = candidate.training.model_copy(
            update={"early_stopping_patience": tuning.early_stopping_patience}
        )
        self._candidate = candidate.model_copy(update={"training": training})
        files, size = plan.arguments["train_files"], candidate.image.size
        self._plain = TransformedSplit(files, size=size)
        self._train = TransformedSplit(
            files, size=size, copies=training.augmentation, changes=training.random_augmentation
        )
        self._labels, patients = self._plain.labels_and_patients()
        self._held_out = grouped_folds(
            patients, self._labels.tolist(), folds=tuning.folds, seed=candidate.seed
        )
        self._trainer: FoldTrainer | None = None
        self._shape: Any = None

    def __call__(self, values: dict[str, Any], epochs: int) -> float:
        """Trains with these values, `epochs` at most, and returns the mean of the objective.

        Raises:
            TrialError: the loss is not finite, or memory ran out.
        """
        candidate = with_hyperparameters(self._candidate, {**values, "epochs": epochs})
        try:
            probabilities = self._trainer_of(candidate).train(candidate)
        except (tf.errors.ResourceExhaustedError, MemoryError) as error:
            self._trainer = self._shape = None
            raise TrialError(f"{self._devices.description} ran out of memory") from error
        scores = [
            score(of_fold, self._labels[held], objective=self._objective)
            for of_fold, held in zip(probabilities, self._held_out, strict=True)
        ]
        if not np.isfinite(scores).all():
            raise TrialError("the probabilities of held-out images are not finite")
        return float(np.mean(scores))

    def _trainer_of(self, candidate: Candidate) -> FoldTrainer:
        """The one of this shape, which is kept until another shape's turn comes."""
        shape = candidate.head, candidate.training.blocks
        if self._trainer is None or shape != self._shape:
            self._trainer = None  # gone before the next is built
            self._trainer = FoldTrainer(
                candidate,
                devices=self._devices,
                train=self._train,
                plain=self._plain,
                labels=self._labels,
                held_out=self._held_out,
                cache_root=self._cache_root,
            )
            self._shape = shape
        return self._trainer
