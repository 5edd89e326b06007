"""One candidate's settings as they travel to Trainer and Tuner, and the compiled model they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from pydantic import BaseModel, ConfigDict

from knet.base.errors import UserError
from knet.models.backbones import Block, backbone_blocks
from knet.models.fine_tuning import StagedFineTuning, unfreeze_top_blocks
from knet.models.hybrid import BACKBONE, HEAD, build_hybrid_model
from knet.models.optimizer import AccumulatingModel, BlockSGD, SmoothedCrossentropy, StaircaseDecay
from knet.models.settings import CalibrationConfig, CandidateConfig, HeadConfig, ImageConfig, OodConfig
from knet.training.devices import Devices
from knet.training.settings import DevicesConfig, TrainingConfig


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
            blocks=backbone_blocks(self.name, model.get_layer(BACKBONE)),
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
            devices: as for `build`, as are the others.
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
                loss=SmoothedCrossentropy(label_smoothing=training.label_smoothing),
                weighted_metrics=[
                    "accuracy"
                ],  # of genuine images: those that fill a micro-batch weigh nothing
                jit_compile=devices.xla,
            )
            unfreeze_top_blocks(blocks, len(blocks) if training.blocks is None else training.blocks)
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


_OF_HEAD = ("lstm_units", "dense_units", "dropout")


def apply_hyperparameters(candidate: Candidate, values: Mapping[str, Any]) -> Candidate:
    """The candidate with these values, named as in `tuning`, instead of its own."""
    head = {name: value for name, value in values.items() if name in _OF_HEAD}
    training = {name: value for name, value in values.items() if name not in _OF_HEAD}
    return candidate.model_copy(
        update={
            "head": candidate.head.model_copy(update=head),
            "training": candidate.training.model_copy(update=training),
        }
    )
