"""One candidate's settings as they travel to Trainer and Tuner, and the compiled model they give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from pydantic import BaseModel, ConfigDict

from pipeline.config import (
    BackboneName,
    CalibrationConfig,
    CandidateConfig,
    Config,
    DevicesConfig,
    HeadConfig,
    ImageConfig,
    OodConfig,
    TrainingConfig,
)
from pipeline.devices import Devices
from pipeline.errors import UserError
from pipeline.models.accumulating_model import AccumulatingModel
from pipeline.models.backbones import Block, blocks_of, token_count
from pipeline.models.block_sgd import BlockSGD
from pipeline.models.hybrid_head import HEAD
from pipeline.models.hybrid_model import BODY, build_hybrid_model
from pipeline.models.release_blocks import release_blocks
from pipeline.models.smoothed_crossentropy import SmoothedCrossentropy
from pipeline.models.staged_fine_tuning import StagedFineTuning
from pipeline.models.staircase_decay import StaircaseDecay


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
    devices: DevicesConfig
    calibration: CalibrationConfig
    ood: OodConfig
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
            devices=config.devices,
            calibration=config.calibration,
            ood=config.ood,
            seed=config.seed,
            synthetic_data=synthetic_data,
            classes=config.data.classes,
        )

    @property
    def keeps_features(self) -> bool:
        """Whether what the frozen blocks make of the images may be kept, as the settings go."""
        training = self.training
        still = training.fine_tune == "blocks" and not training.random_augmentation.enabled
        return still and training.feature_cache is not False

    def model(
        self,
        *,
        pixel_statistics: tuple[Sequence[float], Sequence[float]],
        stain_reference: Sequence[float] | None = None,
        replicas: int = 1,
    ) -> AccumulatingModel:
        """Builds the model, which starts from the configured weights.

        Args:
            pixel_statistics: RGB means and deviations of the training images.
            stain_reference: what `fit_stain_reference` makes of them; None where weights will be loaded.
            replicas: devices that will share a batch.
        """
        mean, std = pixel_statistics
        training = self.training
        return build_hybrid_model(
            self.name,
            size=self.image.size,
            weights=None if self.settings.weights == "none" else self.settings.weights,
            alpha=self.settings.alpha,
            normalisation=self.image.normalisation,
            stain_normalisation=self.image.stain_normalisation,
            stain_reference=stain_reference,
            pixel_mean=mean,
            pixel_std=std,
            batch_norm_momentum=training.batch_norm_momentum,
            sequence_length=self.sequence_length,
            # Replicas cannot meet within a loop over micro-batches.
            synchronized=replicas > 1 and training.micro_batch is None,
            **self.head.model_dump(),
        )

    def build(
        self,
        *,
        devices: Devices,
        pixel_statistics: tuple[Sequence[float], Sequence[float]],
        stain_reference: Sequence[float] | None = None,
        learning_rate: Any,
        momentum: Any,
        images: int,
    ) -> AccumulatingModel:
        """Builds and compiles the model for training (the paper's eqs 1-3).

        Args:
            devices: that it will be trained on.
            pixel_statistics: RGB means and deviations of the training images.
            stain_reference: as for `model`.
            learning_rate: alpha, of the first epoch, or a `StaircaseDecay`.
            momentum: mu, or a tf.Variable of it.
            images: of an epoch, every copy counted.

        Raises:
            UserError: `block_rates` names a block that the backbone has not, or the weights are not usable.
        """
        with devices.scope():
            model = self.model(
                pixel_statistics=pixel_statistics,
                stain_reference=stain_reference,
                replicas=devices.replicas,
            )
        self.compile(
            model,
            blocks=blocks_of(self.name, model.get_layer(BODY)),
            devices=devices,
            learning_rate=learning_rate,
            momentum=momentum,
            images=images,
        )
        return model

    def compile(
        self,
        model: AccumulatingModel,
        *,
        blocks: Sequence[Block],
        devices: Devices,
        learning_rate: Any,
        momentum: Any,
        images: int,
    ) -> None:
        """Compiles a model, or its upper part, and chooses which of the backbone's blocks learn.

        Args:
            model: what will be trained; it holds the head.
            blocks: of the whole backbone.
            devices: as for `build`, likewise the others.
            learning_rate: alpha.
            momentum: mu.
            images: of an epoch.
        """
        training = self.training
        with devices.scope():
            schedule = learning_rate
            if not isinstance(schedule, StaircaseDecay):
                schedule = StaircaseDecay(
                    rate=learning_rate,
                    gamma=training.learning_rate_decay,
                    batch=min(training.batch_size, images),
                    images=images,
                )
            model.micro_batch = training.micro_batch
            model.compile(
                optimizer=BlockSGD(schedule, momentum, multipliers=self._multipliers(model, blocks)),
                loss=SmoothedCrossentropy(smoothing=training.label_smoothing),
                weighted_metrics=[
                    "accuracy"
                ],  # of genuine images: those that fill a micro-batch weigh nothing
                jit_compile=devices.xla,
            )
            release_blocks(blocks, len(blocks) if training.blocks is None else training.blocks)
            # With every variable that will ever learn, so that it keeps its state from stage to stage.
            model.optimizer.build(model.trainable_variables)

    def early_stopping(self) -> keras.callbacks.EarlyStopping:
        """Stops when validation no longer gets better, and restores the best weights."""
        training = self.training
        stopping = {
            "monitor": training.early_stopping_monitor,
            "mode": "min" if training.early_stopping_monitor == "val_loss" else "max",
            "patience": training.early_stopping_patience,
            "restore_best_weights": True,
        }
        if training.fine_tune == "staged":
            return StagedFineTuning(self.name, stage_epochs=training.stage_epochs, **stopping)
        return keras.callbacks.EarlyStopping(**stopping)

    def class_weight(self, class_counts: Sequence[int]) -> dict[int, float] | None:
        """The weight of each label's images in the loss, 1 on average; None where all weigh alike.

        Args:
            class_counts: training images of each label.
        """
        if self.training.class_weights == "none":
            return None
        even = sum(class_counts) / len(class_counts)
        return {label: even / max(count, 1) for label, count in enumerate(class_counts)}

    def _multipliers(self, model: keras.Model, blocks: Sequence[Block]) -> dict[str, float]:
        """The configured `block_rates`, by layer."""
        layers = {block.name: block.layers for block in blocks}
        layers[HEAD] = tuple(model.get_layer(HEAD).layers)
        for name in self.settings.block_rates:
            if name not in layers:
                raise UserError(
                    f"candidates.{self.name}.block_rates: no block {name}; there are {', '.join(layers)}"
                )
        return {
            layer.name: rate for name, rate in self.settings.block_rates.items() for layer in layers[name]
        }
