"""Candidate: the settings of one model's training, passed to Trainer and Tuner, and its compiled model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops
from pydantic import BaseModel, ConfigDict

from knet.base.digests import code_digest, text_digest
from knet.base.errors import UserError
from knet.models.backbones import Block, backbone_blocks, backbone_digest
from knet.models.callbacks import EarlyStopping
from knet.models.fine_tuning import StagedFineTuning, unfreeze_top_blocks
from knet.models.hybrid import BACKBONE, HEAD, build_hybrid_model
from knet.models.optimizer import (
    AccumulatingModel,
    BlockAdamW,
    BlockSGD,
    FocalCrossentropy,
    SmoothedCrossentropy,
    StaircaseDecay,
)
from knet.models.settings import BackboneConfig, CalibrationConfig, HeadConfig, ImageConfig, OodConfig
from knet.training.devices import Devices
from knet.training.settings import DevicesConfig, TrainingConfig


class Candidate(BaseModel):
    """Settings that affect the training of one candidate, and no others.

    It is the `custom_config` of the Trainer: a setting outside it must not change the result, or the cache
    would return a stale one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    settings: BackboneConfig
    sequence_length: int  # tokens: the largest grid among all candidates
    image: ImageConfig
    head: HeadConfig
    training: TrainingConfig
    devices: DevicesConfig
    calibration: CalibrationConfig
    ood: OodConfig
    seed: int
    synthetic_data: bool
    classes: tuple[str, ...]
    positive: tuple[str, ...] = ()  # group of classes with a threshold; of two classes it is the second

    @property
    def backbone(self) -> str:
        """Name or import path of the backbone."""
        return self.settings.backbone or self.name

    @property
    def positive_labels(self) -> tuple[int, ...]:
        """Labels of the positive group of classes."""
        return tuple(self.classes.index(name) for name in self.positive)

    def code_digest(self, module: str) -> str:
        """Return the digest of a module's code, and of the package that the backbone is imported from."""
        package = backbone_digest(self.backbone)
        return text_digest(code_digest(module), package) if package else code_digest(module)

    @property
    def caches_features(self) -> bool:
        """Whether the settings allow a cache of the frozen blocks' feature maps."""
        training = self.training
        fixed = training.fine_tune == "blocks" and not training.random_augmentation.enabled
        return fixed and training.feature_cache is not False

    def model(
        self,
        *,
        pixel_statistics: tuple[Sequence[float], Sequence[float]],
        stain_reference: Sequence[float] | None = None,
        replicas: int = 1,
    ) -> AccumulatingModel:
        """Build the model with the configured initial weights.

        Args:
            pixel_statistics: RGB means and standard deviations of the training images, [3] each.
            stain_reference: from `fit_stain_reference`; None if weights will be loaded.
            replicas: devices that share a batch.
        """
        mean, std = pixel_statistics
        training = self.training
        return build_hybrid_model(
            self.backbone,
            candidate=self.name,
            size=self.image.size,
            weights=None if self.settings.weights == "none" else self.settings.weights,
            alpha=self.settings.alpha,
            normalisation=self.image.normalisation,
            stain_normalisation=self.image.stain_normalisation,
            stain_reference=stain_reference,
            pixel_mean=mean,
            pixel_std=std,
            batch_norm_momentum=training.batch_norm_momentum,
            classes=len(self.classes),
            sequence_length=self.sequence_length,
            # Replicas cannot synchronize within the loop over micro-batches.
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
        weight_decay: Any = None,
        images: int,
    ) -> AccumulatingModel:
        """Build and compile the model (equations 1 to 3 of the paper).

        Args:
            devices: to train on.
            pixel_statistics: RGB means and standard deviations of the training images, [3] each.
            stain_reference: from `fit_stain_reference`.
            learning_rate: initial learning rate, a float or a `StaircaseDecay`.
            momentum: of SGD, a float or a tf.Variable.
            weight_decay: of AdamW, a float or a tf.Variable. None: the configured one.
            images: training images of an epoch, views counted.

        Raises:
            UserError: `block_rates` names an unknown block, or the weights are not usable.
        """
        with devices.scope():
            model = self.model(
                pixel_statistics=pixel_statistics,
                stain_reference=stain_reference,
                replicas=devices.replicas,
            )
        self.compile(
            model,
            blocks=backbone_blocks(self.backbone, model.get_layer(BACKBONE)),
            devices=devices,
            learning_rate=learning_rate,
            momentum=momentum,
            weight_decay=weight_decay,
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
        weight_decay: Any = None,
        images: int,
    ) -> None:
        """Compile a model, or its trainable part, and freeze the other blocks of the backbone.

        Args:
            model: the model to train; holds the head.
            blocks: all blocks of the backbone.
            devices: to train on.
            learning_rate: initial learning rate, a float or a `StaircaseDecay`.
            momentum: of SGD, a float or a tf.Variable.
            weight_decay: of AdamW, a float or a tf.Variable. None: the configured one.
            images: training images of an epoch, views counted.

        Raises:
            UserError: `block_rates` names an unknown block.
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
            multipliers = self._multipliers(model, blocks)
            if training.optimizer == "sgd":
                optimizer = BlockSGD(schedule, momentum, multipliers=multipliers)
            else:
                decay = training.weight_decay if weight_decay is None else weight_decay
                optimizer = BlockAdamW(schedule, decay, multipliers=multipliers)
            model.compile(
                optimizer=optimizer,
                loss=self._loss(),
                weighted_metrics=["accuracy"],  # images that fill up a micro-batch have weight 0
                jit_compile=devices.xla,
            )
            unfreeze_top_blocks(blocks, len(blocks) if training.blocks is None else training.blocks)
            # With the variables of all stages, so that the optimizer keeps its state from stage to stage.
            model.optimizer.build(model.trainable_variables)
            if devices.replicas == 1:  # `fit` does it for several
                count = len(self.classes)
                # A metric whose variables are created in the first step has that step traced twice.
                model.compute_metrics(None, ops.zeros([1], "int32"), ops.full([1, count], 1 / count))
                model.reset_metrics()

    def early_stopping(self, *, train_until: int = 0) -> EarlyStopping:
        """Return early stopping on the configured metric, which restores the best weights.

        Args:
            train_until: epochs to train even if patience runs out before.
        """
        training = self.training
        stopping: dict[str, Any] = {
            "monitor": training.early_stopping_monitor,
            "mode": "min" if training.early_stopping_monitor == "val_loss" else "max",
            "patience": training.early_stopping_patience,
            "restore_best_weights": True,
            "train_until": train_until,
        }
        if training.fine_tune == "staged":
            return StagedFineTuning(self.backbone, stage_epochs=training.stage_epochs, **stopping)
        return EarlyStopping(**stopping)

    def class_weight(self, class_counts: Sequence[int]) -> dict[int, float] | None:
        """Return the weight of each class in the loss, 1 on average over the images; None without weights.

        Args:
            class_counts: training images by label.
        """
        if self.training.class_weights == "none":
            return None
        even = sum(class_counts) / len(class_counts)
        return {label: even / max(count, 1) for label, count in enumerate(class_counts)}

    def _loss(self) -> keras.losses.Loss:
        training = self.training
        if training.loss == "focal":
            return FocalCrossentropy(gamma=training.focal_gamma, label_smoothing=training.label_smoothing)
        return SmoothedCrossentropy(label_smoothing=training.label_smoothing)

    def _multipliers(self, model: keras.Model, blocks: Sequence[Block]) -> dict[str, float]:
        """Return the configured `block_rates` by layer."""
        layers = {block.name: block.layers for block in blocks}
        layers[HEAD] = tuple(model.get_layer(HEAD).layers)
        for name in self.settings.block_rates:
            if name not in layers:
                raise UserError(
                    f"candidates.{self.name}.block_rates: unknown block {name}; use {', '.join(layers)}"
                )
        return {
            layer.name: rate for name, rate in self.settings.block_rates.items() for layer in layers[name]
        }


def apply_hyperparameters(candidate: Candidate, values: Mapping[str, Any]) -> Candidate:
    """Return the candidate with other hyperparameters.

    Args:
        candidate: the candidate.
        values: by name, as in `tuning`.
    """
    head = {name: value for name, value in values.items() if name in HeadConfig.model_fields}
    training = {name: value for name, value in values.items() if name not in head}
    return candidate.model_copy(
        update={
            "head": candidate.head.model_copy(update=head),
            "training": candidate.training.model_copy(update=training),
        }
    )
