"""How candidates are trained, and on what."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from pipeline.config.names import FixedCopy
from pipeline.config.section import Section


class RandomAugmentationConfig(Section):
    """What is changed about every training image anew in every epoch; by default nothing."""

    turn: bool = False  # by 0, 90, 180 or 270 degrees
    stain: float = Field(0.0, ge=0, le=0.5)  # of haematoxylin and eosin; 0.05 is light, 0.2 strong
    colour: float = Field(0.0, ge=0, le=0.5)  # of brightness, contrast and saturation, as a share

    @property
    def changes(self) -> bool:
        """Whether there is any."""
        return bool(self.turn or self.stain or self.colour)


class TrainingConfig(Section):
    """How a candidate is trained."""

    epochs: int = Field(200, ge=1)  # at most; early stopping usually ends sooner
    # what early stopping looks at; the weights of its best epoch are kept
    early_stopping_monitor: Literal["val_loss", "val_accuracy"] = "val_loss"
    early_stopping_patience: int = Field(10, ge=1)  # epochs in which it did not get better
    batch_size: int = Field(500, ge=1)  # images of one update
    micro_batch: int | None = Field(20, ge=1)  # of them on a device at once; none means all
    learning_rate: float = Field(0.001, gt=0, le=10)  # used where tuning is off
    momentum: float = Field(0.9, ge=0, lt=1)  # likewise
    learning_rate_decay: float = Field(0.95, gt=0, le=1)  # per epoch, the paper's eq (2)
    # all: every block learns; blocks: the topmost ones; staged: the head alone at first, then one block more
    # in every stage, from the top downwards (docs/fine-tuning.md)
    fine_tune: Literal["all", "blocks", "staged"] = "staged"
    blocks: int | None = Field(None, ge=0)  # how many, with fine_tune blocks; 0 trains the head alone
    stage_epochs: int = Field(1, ge=1)  # with fine_tune staged
    class_weights: Literal["none", "balanced"] = "none"  # balanced: both classes weigh alike
    label_smoothing: float = Field(0.0, ge=0, lt=1)  # share of a label that is spread over both classes
    batch_norm_momentum: float = Field(0.99, gt=0, lt=1)  # lower for few steps from scratch
    # The copies of each training image, which are the same in every epoch.
    augmentation: tuple[FixedCopy, ...] = Field(
        ("original", "flip_horizontal", "flip_vertical"), min_length=1
    )
    random_augmentation: RandomAugmentationConfig = RandomAugmentationConfig()
    # auto: what the frozen blocks make of the images is kept and not computed again, where fine_tune is
    # blocks and random_augmentation changes nothing; true insists on it; false never does
    feature_cache: Literal["auto"] | bool = "auto"

    @model_validator(mode="after")
    def _cache_of_what_stays(self) -> TrainingConfig:
        if self.feature_cache is True and self.random_augmentation.changes:
            raise ValueError(
                "feature_cache=true and random_augmentation exclude each other: the cache holds one feature "
                "map of each copy of an image, which random changes would alter in every epoch; set "
                "feature_cache=auto, or random_augmentation={}"
            )
        if self.feature_cache is True and self.fine_tune != "blocks":
            raise ValueError(
                f"feature_cache=true needs fine_tune=blocks: with fine_tune={self.fine_tune} no block stays "
                "frozen, so no feature map stays as it is"
            )
        return self

    @model_validator(mode="after")
    def _blocks_where_they_count(self) -> TrainingConfig:
        if (self.fine_tune == "blocks") != (self.blocks is not None):
            raise ValueError("fine_tune=blocks and blocks go together, such as fine_tune=blocks and blocks=2")
        return self


class DevicesConfig(Section):
    """How the devices compute that a candidate is trained on: all visible GPUs, or else the CPU."""

    # auto: mixed_bfloat16 or mixed_float16 on GPUs with tensor cores for them, else float32
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = "auto"
    xla: Literal["auto"] | bool = "auto"  # auto: on one GPU with tensor cores, unless deterministic
    deterministic: bool = False  # GPUs too give the same weights for the same seed, slower; a CPU always does
