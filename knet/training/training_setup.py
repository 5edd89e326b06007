"""What is trained of a candidate: all of it on images, or its upper part on kept feature maps."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.progress import PROGRESS
from knet.models.backbones import backbone_blocks
from knet.models.fine_tuning import split_model
from knet.models.hybrid import BACKBONE
from knet.models.optimizer import AccumulatingModel
from knet.models.stain import fit_stain_reference
from knet.training.candidate import Candidate
from knet.training.dataset import TransformedSplit
from knet.training.devices import Devices, start_from_seed
from knet.training.feature_cache import CachedSplit, FeatureRangeError, cache_split, map_bytes

_AT_ONCE = 32


class TrainingSetup:
    """Prepares a candidate's training, for Trainer and Tuner alike.

    Attributes:
        candidate: the settings.
        devices: to train on.
        images: to learn from; `validation_images` to judge epochs by.
        train: source of `training_batches`: images, or feature maps of the frozen blocks.
        validation: source of `batches`: images or feature maps, as for `train`.
    """

    def __init__(
        self,
        candidate: Candidate,
        *,
        devices: Devices,
        train: TransformedSplit,
        validation: TransformedSplit,
        cache_root: Path,
    ) -> None:
        """Has the feature maps computed, where the candidate trains on them and they are not there yet.

        Args:
            candidate: the settings.
            devices: to train on.
            train: the images to learn from.
            validation: those to judge epochs by.
            cache_root: the folder for feature maps.

        Raises:
            UserError: the candidate insists on kept feature maps, which cannot be had; or the weights are not
                usable.
        """
        self.candidate = candidate
        self.devices = devices
        self.images = train
        self.validation_images = validation
        self._statistics: dict[str, Any] = {
            "pixel_statistics": train.pixel_statistics(),
            "stain_reference": fit_stain_reference(
                candidate.image.stain_normalisation, train.batches(batch_size=_AT_ONCE)
            ),
        }
        self._copies = train.count * train.copy_count
        self._body_weights: list[Any] | None = None  # that the feature maps were made with
        self.train: TransformedSplit | CachedSplit = train
        self.validation: TransformedSplit | CachedSplit = validation
        if candidate.keeps_features:
            self._keep_features(train, validation, cache_root)
            start_from_seed(candidate.seed)  # as if nothing had been built

    def build(self, *, learning_rate: Any, momentum: Any) -> tuple[AccumulatingModel, AccumulatingModel]:
        """The compiled model to fit, and the whole one that it is, or shares its weights with.

        Args:
            learning_rate: alpha, of the first epoch, or a `StaircaseDecay`.
            momentum: mu, or a tf.Variable of it.
        """
        settings: dict[str, Any] = {
            "devices": self.devices,
            "learning_rate": learning_rate,
            "momentum": momentum,
            "images": self._copies,
        }
        if self._body_weights is None:
            model = self.candidate.build(**self._statistics, **settings)
            return model, model
        with self.devices.scope():
            whole = self._whole()
            body = whole.get_layer(BACKBONE)
            body.set_weights(self._body_weights)
            _, learning = split_model(whole, self.candidate.name, trainable_blocks=self._upper_blocks)
            self.candidate.compile(learning, blocks=backbone_blocks(self.candidate.name, body), **settings)
        return learning, whole

    @property
    def _upper_blocks(self) -> int:
        return self.candidate.training.blocks or 0

    def _whole(self) -> AccumulatingModel:
        return self.candidate.model(**self._statistics, replicas=self.devices.replicas)

    def _keep_features(self, train: TransformedSplit, validation: TransformedSplit, root: Path) -> None:
        """Replaces images by feature maps, unless there is nothing frozen or no place for them."""
        training = self.candidate.training
        with self.devices.scope():
            whole = self._whole()
            body = whole.get_layer(BACKBONE)
            count = len(backbone_blocks(self.candidate.name, body))
            if self._upper_blocks >= count:
                self._without_cache(f"all {count} blocks of {self.candidate.name} learn")
                return
            frozen, _ = split_model(whole, self.candidate.name, trainable_blocks=self._upper_blocks)
        images = self._copies + validation.count
        needed = images * map_bytes(frozen.output_shape[1:])
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
        if needed > free:
            self._without_cache(
                f"{images} feature maps take {needed / 1e9:.1f} GB, and {root} has {free / 1e9:.1f} GB left"
            )
            return
        at_once = training.micro_batch or training.batch_size
        try:
            kept = [
                cache_split(split, frozen, root=root, batch_size=at_once) for split in (train, validation)
            ]
        except FeatureRangeError as error:
            self._without_cache(str(error))
            return
        self.train, self.validation = kept
        self._body_weights = body.get_weights()

    def _without_cache(self, reason: str) -> None:
        if self.candidate.training.feature_cache is True:
            raise UserError(
                f"training.feature_cache: no feature maps can be kept for {self.candidate.name}: {reason}; "
                "set training.feature_cache=auto"
            )
        logging.getLogger(PROGRESS).info("%s: no feature maps are kept: %s", self.candidate.name, reason)
