"""Settings of training: augmentation, optimizer, fine-tuning, devices."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from knet.base.settings import Section
from knet.models.settings import OfflineAugmentation


class RandomAugmentationConfig(Section):
    """Random augmentation of every training image, drawn again in every epoch; off by default."""

    rotate: bool = Field(False, description="Rotate by 0, 90, 180 or 270 degrees.")
    stain: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Largest change of the amounts of hematoxylin and eosin: 0.05 is light, 0.2 strong.",
        json_schema_extra={"unit": "fraction"},
    )
    colour: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Largest change of brightness, contrast and saturation.",
        json_schema_extra={"unit": "fraction"},
    )

    @property
    def enabled(self) -> bool:
        """Whether any augmentation is on."""
        return bool(self.rotate or self.stain or self.colour)


class TrainingConfig(Section):
    """Training of each candidate."""

    epochs: int = Field(
        200,
        ge=1,
        description="Most epochs; early stopping may end sooner.",
        json_schema_extra={"unit": "epochs"},
    )
    early_stopping_monitor: Literal["val_loss", "val_accuracy"] = Field(
        "val_loss", description="Metric of early stopping; the weights of its best epoch are restored."
    )
    early_stopping_patience: int = Field(
        10,
        ge=1,
        description="Epochs without improvement after which training stops.",
        json_schema_extra={"unit": "epochs"},
    )
    snapshots: tuple[int, ...] = Field(
        (),
        description="Epochs after which the weights are saved beside the model. After early stopping the "
        "training continues to the last of them; the model has the weights of early stopping.",
        json_schema_extra={"unit": "epochs"},
    )
    batch_size: int = Field(
        500, ge=1, description="Images of one optimizer step.", json_schema_extra={"unit": "images"}
    )
    micro_batch: int | None = Field(
        20,
        ge=1,
        description="Images on a device at once; gradients are accumulated up to batch_size. null: "
        "batch_size.",
        json_schema_extra={"unit": "images"},
    )
    optimizer: Literal["sgd", "adamw"] = Field(
        "sgd", description="Optimizer. sgd: with momentum, as in the paper; adamw: Adam with weight decay."
    )
    learning_rate: float = Field(0.001, gt=0, le=10, description="Initial learning rate; tuning replaces it.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of SGD; tuning replaces it.")
    weight_decay: float = Field(
        0.004,
        ge=0,
        lt=1,
        description="Weight decay of AdamW, of every trained weight, relative to the learning rate.",
    )
    learning_rate_decay: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Factor of the learning rate after each epoch (the paper's equation 2).",
        json_schema_extra={"unit": "1/epoch"},
    )
    fine_tune: Literal["all", "blocks", "staged"] = Field(
        "staged",
        description="Trainable part of the backbone. all: every block; blocks: the topmost `blocks`; "
        "staged: the head alone first, then one block more in every stage, from the top down "
        "(docs/fine-tuning.md).",
    )
    blocks: int | None = Field(
        None,
        ge=0,
        description="Topmost trainable blocks with fine_tune=blocks; 0 trains the head alone.",
        json_schema_extra={"unit": "blocks"},
    )
    stage_epochs: int = Field(
        1,
        ge=1,
        description="Length of a stage with fine_tune=staged.",
        json_schema_extra={"unit": "epochs"},
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="Weights of the classes in the loss. balanced: inversely proportional to their images.",
    )
    loss: Literal["crossentropy", "focal"] = Field(
        "crossentropy",
        description="Loss. focal: cross-entropy that weights well classified images down (Lin et al., 2017).",
    )
    focal_gamma: float = Field(
        2.0,
        ge=0,
        le=10,
        description="Exponent gamma of the focal loss. A larger one reduces the weight of well classified "
        "images.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Part of a label that is spread evenly over all classes.",
        json_schema_extra={"unit": "fraction"},
    )
    batch_norm_momentum: float = Field(
        0.99,
        gt=0,
        lt=1,
        description="Momentum of the moving statistics of batch normalization; lower it for few steps from "
        "random weights.",
    )
    augmentation: tuple[OfflineAugmentation, ...] = Field(
        ("original", "flip_horizontal", "flip_vertical"),
        min_length=1,
        description="Offline augmentations: the views of each training image, the same in every epoch.",
    )
    random_augmentation: RandomAugmentationConfig = RandomAugmentationConfig()
    feature_cache: Literal["auto"] | bool = Field(
        "auto",
        description="Cache the feature maps of frozen blocks. auto: with fine_tune=blocks and no random "
        "augmentation; true: fail where that is not so; false: never.",
    )

    @model_validator(mode="after")
    def _snapshots_within_epochs(self) -> TrainingConfig:
        for number in self.snapshots:
            if not 1 <= number <= self.epochs:
                raise ValueError(
                    f"snapshots: {number} is not from 1 to epochs={self.epochs}; change one of them"
                )
        return self

    @model_validator(mode="after")
    def _feature_cache_needs_fixed_features(self) -> TrainingConfig:
        if self.feature_cache is True and self.random_augmentation.enabled:
            raise ValueError(
                "feature_cache=true and random_augmentation exclude each other: the cache holds one feature "
                "map of each view of an image, but random augmentation differs in every epoch; set "
                "feature_cache=auto, or random_augmentation={}"
            )
        if self.feature_cache is True and self.fine_tune != "blocks":
            raise ValueError(
                f"feature_cache=true needs fine_tune=blocks: with fine_tune={self.fine_tune} no block stays "
                "frozen, so feature maps change during training"
            )
        return self

    @model_validator(mode="after")
    def _blocks_with_fine_tune_blocks(self) -> TrainingConfig:
        if (self.fine_tune == "blocks") != (self.blocks is not None):
            raise ValueError("fine_tune=blocks and blocks go together, such as fine_tune=blocks and blocks=2")
        return self


class DevicesConfig(Section):
    """Computation on the training devices: all visible GPUs, otherwise the CPU."""

    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"] = Field(
        "auto",
        description="Keras dtype policy. auto: mixed_bfloat16 or mixed_float16 on GPUs with tensor cores "
        "for it, otherwise float32.",
    )
    xla: Literal["auto"] | bool = Field(
        "auto", description="Compile with XLA. auto: on one GPU with tensor cores, unless deterministic."
    )
    deterministic: bool = Field(
        False,
        description="Deterministic GPU kernels, which are slower: the same seed gives the same weights. "
        "CPUs are always deterministic.",
    )
