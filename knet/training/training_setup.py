"""Training setup of a candidate: the whole model on images, or its trainable part on cached feature maps."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.progress import PROGRESS
from knet.models.backbones import backbone_blocks, backbone_digest
from knet.models.fine_tuning import split_model
from knet.models.hybrid import BACKBONE
from knet.models.optimizer import AccumulatingModel
from knet.models.stain import fit_stain_reference
from knet.training.candidate import Candidate
from knet.training.dataset import TransformedSplit
from knet.training.devices import Devices, start_from_seed
from knet.training.feature_cache import CachedSplit, FeatureRangeError, cache_split, map_bytes


class TrainingSetup:
    """Data and model of a candidate's training, in Trainer and Tuner.

    Attributes:
        candidate: the settings.
        devices: to train on.
        raw_train: training images.
        raw_validation: validation images.
        train: training inputs: `raw_train`, or its cached feature maps.
        validation: validation inputs: `raw_validation`, or its cached feature maps.
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
        """Fit the stain reference, and compute the feature maps if they are to be cached and are not yet.

        Args:
            candidate: the settings.
            devices: to train on.
            train: training images.
            validation: validation images.
            cache_root: folder of the feature cache.

        Raises:
            UserError: the candidate requires a feature cache, which is impossible, or its weights are not
                usable.
        """
        self.candidate = candidate
        self.devices = devices
        self.raw_train = train
        self.raw_validation = validation
        self._statistics: dict[str, Any] = {
            "pixel_statistics": train.pixel_statistics(),
            "stain_reference": fit_stain_reference(
                candidate.image.stain_normalisation, train.batches(batch_size=_STAIN_BATCH)
            ),
        }
        self._views = train.count * train.view_count
        self._backbone_weights: list[Any] | None = None  # that computed the feature maps
        self.train: TransformedSplit | CachedSplit = train
        self.validation: TransformedSplit | CachedSplit = validation
        if candidate.caches_features:
            self._cache_features(cache_root)
            start_from_seed(candidate.seed)  # undo the effect of building a model on the generators

    def build(
        self, *, learning_rate: Any, momentum: Any, weight_decay: Any = None
    ) -> tuple[AccumulatingModel, AccumulatingModel]:
        """Build the compiled model to fit, and the whole model.

        Args:
            learning_rate: initial learning rate, a float or a `StaircaseDecay`.
            momentum: of SGD, a float or a tf.Variable.
            weight_decay: of AdamW, a float or a tf.Variable. None: the configured one.

        Returns:
            The model to fit, for the inputs `train`, and the whole model for images: the same, or one that
            shares its weights.
        """
        settings: dict[str, Any] = {
            "devices": self.devices,
            "learning_rate": learning_rate,
            "momentum": momentum,
            "weight_decay": weight_decay,
            "images": self._views,
        }
        if self._backbone_weights is None:
            model = self.candidate.build(**self._statistics, **settings)
            return model, model
        with self.devices.scope():
            whole = self._whole()
            backbone = whole.get_layer(BACKBONE)
            backbone.set_weights(self._backbone_weights)
            _, trainable = split_model(
                whole, self.candidate.backbone, trainable_blocks=self._trainable_blocks
            )
            blocks = backbone_blocks(self.candidate.backbone, backbone)
            self.candidate.compile(trainable, blocks=blocks, **settings)
        return trainable, whole

    @property
    def _trainable_blocks(self) -> int:
        return self.candidate.training.blocks or 0

    def _whole(self) -> AccumulatingModel:
        return self.candidate.model(**self._statistics, replicas=self.devices.replicas)

    def _cache_features(self, root: Path) -> None:
        """Replace the images by feature maps, unless no block is frozen or the disk has no space for them."""
        name, training = self.candidate.backbone, self.candidate.training
        with self.devices.scope():
            whole = self._whole()
            backbone = whole.get_layer(BACKBONE)
            count = len(backbone_blocks(name, backbone))
            if self._trainable_blocks >= count:
                self._skip_cache(f"all {count} blocks of {name} are trainable")
                return
            try:
                frozen, _ = split_model(whole, name, trainable_blocks=self._trainable_blocks)
            except ValueError:
                self._skip_cache(
                    f"more than one tensor leads from the frozen blocks of {name} to the topmost "
                    f"{self._trainable_blocks}"
                )
                return
        maps = self._views + self.raw_validation.count
        needed = maps * map_bytes(frozen.output_shape[1:])
        root.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(root).free
        if needed > free:
            self._skip_cache(
                f"{maps} feature maps take {needed / 1e9:.1f} GB, and {root} has {free / 1e9:.1f} GB left"
            )
            return
        batch_size = training.micro_batch or training.batch_size
        try:
            train, validation = (
                cache_split(split, frozen, root=root, batch_size=batch_size, package=backbone_digest(name))
                for split in (self.raw_train, self.raw_validation)
            )
        except FeatureRangeError as error:
            self._skip_cache(str(error))
            return
        self.train, self.validation = train, validation
        self._backbone_weights = backbone.get_weights()

    def _skip_cache(self, reason: str) -> None:
        """Log why images are trained on, or raise an error if the cache is required."""
        if self.candidate.training.feature_cache is True:
            raise UserError(
                f"training.feature_cache: feature maps of {self.candidate.name} cannot be cached: {reason}; "
                "set training.feature_cache=auto"
            )
        logging.getLogger(PROGRESS).info("%s: no feature maps are cached: %s", self.candidate.name, reason)


_STAIN_BATCH = 32  # images measured at once
