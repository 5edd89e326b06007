"""Evaluation of hyperparameters by cross-validation over folds of the training patients."""

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
from knet.training.memory import is_out_of_memory, memory_problem
from knet.training.trainer import fit_arguments
from knet.training.training_setup import TrainingSetup
from knet.tuning.plan import SearchPlan, TrialError, Values, score


class FoldEvaluation:
    """Objective of a search: the mean score over folds of the training patients."""

    def __init__(self, plan: SearchPlan) -> None:
        """Assign the patients to folds.

        Args:
            plan: Its `arguments` hold `train_files`, the file patterns of the transformed training examples,
                and `cache_root`, the folder for feature maps.

        Raises:
            UserError: A class has too few patients.
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
        self._originals = TransformedSplit(files, size=size)
        self._train = TransformedSplit(
            files,
            size=size,
            offline_augmentations=training.augmentation,
            random_augmentation=training.random_augmentation,
        )
        self._labels, patients = self._originals.labels_and_patients()
        self._held_out = held_out_masks(
            patients,
            self._labels.tolist(),
            classes=candidate.classes,
            folds=tuning.folds,
            seed=candidate.seed,
        )
        self._trainer: FoldTrainer | None = None
        self._architecture: Any = None  # of the trainer

    def __call__(self, values: Values, epochs: int) -> float:
        """Train on every fold and return the mean of the objective.

        Args:
            values: Hyperparameters by name.
            epochs: Maximum number of epochs.

        Raises:
            TrialError: The loss is not finite, or memory ran out.
        """
        candidate = apply_hyperparameters(self._candidate, {**values, "epochs": epochs})
        try:
            probabilities = self._trainer_for(candidate).train(candidate)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._trainer = self._architecture = None
            raise TrialError(memory_problem(candidate, self._devices)) from error
        scores = [
            score(predicted, self._labels[held_out], objective=self._objective)
            for predicted, held_out in zip(probabilities, self._held_out, strict=True)
        ]
        if not np.isfinite(scores).all():
            raise TrialError("the probabilities of held-out images are not finite")
        return float(np.mean(scores))

    def _trainer_for(self, candidate: Candidate) -> FoldTrainer:
        """Return the trainer of the candidate's architecture; only the last one stays in memory."""
        architecture = candidate.head, candidate.training.blocks
        if self._trainer is None or architecture != self._architecture:
            self._trainer = None  # freed before the next is built
            self._trainer = FoldTrainer(
                candidate,
                devices=self._devices,
                train=self._train,
                originals=self._originals,
                labels=self._labels,
                held_out=self._held_out,
                cache_root=self._cache_root,
            )
            self._architecture = architecture
        return self._trainer


class FoldTrainer:
    """Model that is built and traced once, and trained from the same initial weights for every trial.

    Learning rate, its decay, momentum and weight decay are variables of the traced training step. A further
    trial costs its steps alone and no further memory.
    """

    def __init__(
        self,
        candidate: Candidate,
        *,
        devices: Devices,
        train: TransformedSplit,
        originals: TransformedSplit,
        labels: np.ndarray,
        held_out: Sequence[np.ndarray],
        cache_root: Path,
    ) -> None:
        """Build the model, and compute feature maps that are not cached yet.

        Args:
            candidate: Settings, whose head and trainable blocks make the architecture.
            devices: Devices to train on.
            train: Training images with their augmentations.
            originals: The same images without augmentations.
            labels: Class indices of the images, int [images].
            held_out: For each fold a mask, bool [images], true for images that it holds out.
            cache_root: Folder for feature maps.

        Raises:
            UserError: The candidate requires a feature cache, which is impossible, or its weights are not
                usable.
        """
        self._replicas = devices.replicas
        start_from_seed(candidate.seed)
        setup = TrainingSetup(
            candidate, devices=devices, train=train, validation=originals, cache_root=cache_root
        )
        with devices.scope():
            # The values are placeholders; with a momentum of 0 the optimizer would create no velocities.
            self._rate, self._gamma, self._momentum, self._weight_decay = (
                tf.Variable(0.5, trainable=False) for _ in range(4)
            )
            self._batch, self._images = (tf.Variable(1, trainable=False, dtype=tf.int64) for _ in range(2))
        schedule = StaircaseDecay(rate=self._rate, gamma=self._gamma, batch=self._batch, images=self._images)
        self._model, _ = setup.build(
            learning_rate=schedule, momentum=self._momentum, weight_decay=self._weight_decay
        )
        metrics = {id(variable) for variable in self._model.metrics_variables}
        self._initial_state = [
            (variable, keras.ops.convert_to_numpy(variable))
            for variable in (*self._model.variables, *self._model.optimizer.variables)
            if id(variable) not in metrics
        ]
        self._folds = [
            (setup.train.subset(~mask, labels=labels), setup.validation.subset(mask, labels=labels))
            for mask in held_out
        ]
        self._arguments: dict[tuple[int, int], dict[str, Any]] = {}  # of fit, by fold and epochs

    def train(self, candidate: Candidate) -> list[np.ndarray]:
        """Train on every fold.

        Args:
            candidate: Settings with the architecture of the model; they supply epochs, learning rate,
                momentum, weight decay and decay.

        Returns:
            For each fold the probabilities of its held-out images, float [images, classes].

        Raises:
            TrialError: The loss is not finite.
        """
        return [self._train_fold(candidate, fold) for fold in range(len(self._folds))]

    def _train_fold(self, candidate: Candidate, fold: int) -> np.ndarray:
        arguments = self._fit_arguments(candidate, fold)
        self._reset(candidate, fold)
        self._model.fit(
            **arguments,
            callbacks=[
                FiniteLoss(_loss_error),
                candidate.early_stopping(),
                TrainingProgress(f"fold {fold + 1} of {len(self._folds)}, ", level=logging.DEBUG),
            ],
        )
        return np.asarray(self._model.predict(arguments["validation_data"], verbose=0), "float32")

    def _fit_arguments(self, candidate: Candidate, fold: int) -> dict[str, Any]:
        """Return the arguments of fit, created once, because tf.data traces its functions again otherwise."""
        key = fold, candidate.training.epochs
        if key not in self._arguments:
            train, held_out = self._folds[fold]
            self._arguments[key] = fit_arguments(candidate, train, held_out, replicas=self._replicas)
        return self._arguments[key]

    def _reset(self, candidate: Candidate, fold: int) -> None:
        """Restore the initial weights and optimizer state, and set the hyperparameters."""
        for variable, value in self._initial_state:
            variable.assign(value)
        training = candidate.training
        train, _ = self._folds[fold]
        images = train.count * train.view_count
        self._rate.assign(training.learning_rate)
        self._gamma.assign(training.learning_rate_decay)
        self._momentum.assign(training.momentum)
        self._weight_decay.assign(training.weight_decay)
        self._images.assign(images)
        self._batch.assign(min(training.batch_size, images))


def _loss_error(epoch: int, batch: int | None) -> TrialError:
    return TrialError(f"the loss is not finite in epoch {epoch + 1}")
