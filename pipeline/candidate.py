"""One candidate's settings as they travel to Trainer and Tuner, and the compiled model they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from pydantic import BaseModel, ConfigDict

from pipeline.config import BackboneName, CandidateConfig, Config, HeadConfig, ImageConfig, TrainingConfig
from pipeline.models.backbones import token_count
from pipeline.models.hybrid_model import build_hybrid_model


class Candidate(BaseModel):
    """Everything of the configuration that bears on one candidate's training, and nothing else.

    It is the node's `custom_config`: what is not in it must not change the result, or the cache would lie.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    settings: CandidateConfig
    sequence_length: int  # tokens, the longest grid among all candidates
    image: ImageConfig
    head: HeadConfig
    training: TrainingConfig
    seed: int
    synthetic_data: bool
    classes: tuple[str, str]

    @classmethod
    def of(cls, config: Config, name: BackboneName, *, synthetic_data: bool) -> Candidate:
        """Takes a candidate's part of the configuration."""
        training = config.training
        if config.tuning:  # its results are used: these would only make the cache miss
            paper = TrainingConfig()
            unused = {"learning_rate": paper.learning_rate, "momentum": paper.momentum}
            training = training.model_copy(update=unused)
        return cls(
            name=name,
            settings=config.candidates[name],
            sequence_length=max(token_count(other, config.image.size) for other in config.candidates),
            image=config.image,
            head=config.head,
            training=training,
            seed=config.seed,
            synthetic_data=synthetic_data,
            classes=config.data.classes,
        )

    def build(
        self,
        *,
        pixel_statistics: tuple[Sequence[float], Sequence[float]],
        learning_rate: float,
        momentum: float,
        steps_per_epoch: int,
    ) -> keras.Model:
        """Builds and compiles the model: SGD with momentum, decayed once an epoch (the paper's eqs 1-3).

        Args:
            pixel_statistics: RGB means and deviations of the training images.
            learning_rate: alpha, of the first epoch.
            momentum: mu.
            steps_per_epoch: updates after which the learning rate decays.
        """
        mean, std = pixel_statistics
        model = build_hybrid_model(
            self.name,
            size=self.image.size,
            sequence_length=self.sequence_length,
            weights=None if self.settings.weights == "none" else self.settings.weights,
            alpha=self.settings.alpha,
            normalisation=self.image.normalisation,
            pixel_mean=mean,
            pixel_std=std,
            fine_tune=self.training.fine_tune,
            batch_norm_momentum=self.training.batch_norm_momentum,
            **self.head.model_dump(),
        )
        schedule = keras.optimizers.schedules.ExponentialDecay(
            learning_rate, steps_per_epoch, self.training.learning_rate_decay, staircase=True
        )
        model.compile(
            optimizer=keras.optimizers.SGD(schedule, momentum=momentum),
            loss=keras.losses.SparseCategoricalCrossentropy(),
            metrics=["accuracy"],
        )
        return model

    def callbacks(self) -> list[Any]:
        """Early stopping on validation loss, with the best weights restored; on NaN at once."""
        return [
            keras.callbacks.TerminateOnNaN(),
            keras.callbacks.EarlyStopping(
                monitor="val_loss", patience=self.training.early_stopping_patience, restore_best_weights=True
            ),
        ]
