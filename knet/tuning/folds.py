"""Trains one shape of a model on every fold, again and again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from knet.data.grouping import held_out_masks
from knet.models.callbacks import FiniteLoss, TrainingProgress
from knet.models.optimizer import StaircaseDecay
from knet.training.candidate import Candidate, apply_hyperparameters
from knet.training.dataset import TransformedSplit
from knet.training.devices import Devices, prepare_devices, start_from_seed
from knet.training.trainer import fit_arguments
from knet.training.training_setup import TrainingSetup
from knet.tuning.plan import SearchPlan, TrialError, score


class FoldTrainer:
    """A model that is built and traced once, and starts from the same weights whenever it is trained.

    Learning rate, its decay and momentum are variables, which the traced step reads. So a trial costs its
    steps alone, and leaves nothing behind in memory.
    """

    def __init__(
        self,
        candidate: Candidate,
        *,
        devices: Devices,
        train: TransformedSplit,
        plain: TransformedSplit,
        labels: np.ndarray,
        held_out: Sequence[np.ndarray],
        cache_root: Path,
    ) -> None:
        """Builds it, and has feature maps computed where there are none yet.

        Args:
            candidate: its shape: head and blocks that learn.
            devices: to train on.
            train: the training images, with all copies.
            plain: the same, without.
            labels: of the images [images].
            held_out: of each fold, the images that are held out, as booleans.
            cache_root: the folder for feature maps.

        Raises:
            UserError: as `Learner` does.
        """
        self._replicas = devices.replicas
        start_from_seed(candidate.seed)
        learner = TrainingSetup(
            candidate, devices=devices, train=train, validation=plain, cache_root=cache_root
        )
        with devices.scope():
            # A momentum of 0 would leave no room for another.
            self._rate, self._gamma, self._momentum = (tf.Variable(0.5, trainable=False) for _ in range(3))
            self._batch, self._images = (tf.Variable(1, trainable=False, dtype=tf.int64) for _ in range(2))
        schedule = StaircaseDecay(rate=self._rate, gamma=self._gamma, batch=self._batch, images=self._images)
        self._model, _ = learner.build(learning_rate=schedule, momentum=self._momentum)
        metrics = {id(variable) for variable in self._model.metrics_variables}
        self._start = [
            (variable, keras.ops.convert_to_numpy(variable))
            for variable in (*self._model.variables, *self._model.optimizer.variables)
            if id(variable) not in metrics
        ]
        self._folds = [
            (learner.train.only(~held, labels=labels), learner.validation.only(held, labels=labels))
            for held in held_out
        ]
        self._arguments: dict[tuple[int, int], dict[str, Any]] = {}  # of fit, by fold and epochs

    def train(self, candidate: Candidate) -> list[np.ndarray]:
        """Trains on every fold, and returns the probabilities [images, 2] of what each holds out.

        Args:
            candidate: of the same shape, with its epochs, learning rate, momentum and decay.

        Raises:
            TrialError: the loss is not finite.
        """
        return [self._train(candidate, fold) for fold in range(len(self._folds))]

    def _train(self, candidate: Candidate, fold: int) -> np.ndarray:
        arguments = self._fit_arguments(candidate, fold)
        self._restart(candidate, fold)
        self._model.fit(
            **arguments,
            callbacks=[
                FiniteLoss(_not_finite),
                candidate.early_stopping(),
                TrainingProgress(f"fold {fold + 1} of {len(self._folds)}, ", level=logging.DEBUG),
            ],
        )
        return np.asarray(self._model.predict(arguments["validation_data"], verbose=0), "float32")

    def _fit_arguments(self, candidate: Candidate, fold: int) -> dict[str, Any]:
        """Made once, since the functions of a tf.data pipeline are traced too."""
        key = fold, candidate.training.epochs
        if key not in self._arguments:
            train, held = self._folds[fold]
            self._arguments[key] = fit_arguments(candidate, train, held, replicas=self._replicas)
        return self._arguments[key]

    def _restart(self, candidate: Candidate, fold: int) -> None:
        for variable, value in self._start:
            variable.assign(value)
        training = candidate.training
        train, _ = self._folds[fold]
        images = train.count * train.copy_count
        self._rate.assign(training.learning_rate)
        self._gamma.assign(training.learning_rate_decay)
        self._momentum.assign(training.momentum)
        self._images.assign(images)
        self._batch.assign(min(training.batch_size, images))


def _not_finite(epoch: int, batch: int | None) -> TrialError:
    return TrialError(f"the loss is not finite in epoch {epoch + 1}")


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
        self._held_out = held_out_masks(
            patients, self._labels.tolist(), folds=tuning.folds, seed=candidate.seed
        )
        self._trainer: FoldTrainer | None = None
        self._shape: Any = None

    def __call__(self, values: dict[str, Any], epochs: int) -> float:
        """Trains with these values, `epochs` at most, and returns the mean of the objective.

        Raises:
            TrialError: the loss is not finite, or memory ran out.
        """
        candidate = apply_hyperparameters(self._candidate, {**values, "epochs": epochs})
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
