"""Settings of the compared models: input image, backbones, head."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, field_validator

from knet.base import schema_names
from knet.base.settings import Fraction, Section, expand_home


class ImageConfig(Section):
    """The input image of the models and its normalization."""

    size: int = Field(
        227,
        ge=32,
        le=1024,
        description="Height and width of the input image; images are resized bilinearly.",
        json_schema_extra={"unit": "pixels"},
    )
    normalisation: Literal["image", "backbone", "dataset"] = Field(
        "image",
        description="Scaling of pixel values. image: global contrast normalization of each image; backbone: "
        "the scaling that the ImageNet weights were trained with; dataset: mean and standard deviation of "
        "the training images.",
    )
    max_pixels: int = Field(
        schema_names.MAX_PIXELS,
        ge=schema_names.MIN_SIDE**2,
        le=schema_names.MAX_PIXELS,
        description="Largest image that the exported model decodes. It refuses larger ones after reading "
        "their header. A smaller value saves memory of the server (docs/serving.md). No image of the data "
        "set may be larger.",
        json_schema_extra={"unit": "pixels"},
    )
    stain_normalisation: Literal["none", "macenko", "reinhard"] = Field(
        "none",
        description="Stain normalization to the training images, computed in the model before "
        "`normalisation`.",
    )


# Nodes, folders and Kubernetes' objects are named after it.
CandidateName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", max_length=30)]


class BackboneConfig(Section):
    """A backbone, its weights and the rates of its blocks."""

    backbone: str | None = Field(
        None,
        description="Name of the backbone (docs/fine-tuning.md), or import path of one of yours, such as "
        "mypackage.nets:build (docs/extending.md). null: the name of the candidate.",
    )
    weights: str = Field(
        "imagenet",
        description="Initial weights of the backbone. imagenet: downloaded on first use; none: "
        "random; otherwise the path of a weights file without the top layers.",
    )
    alpha: float | None = Field(
        None,
        gt=0,
        le=2,
        description="Width multiplier of MobileNet; no other backbone has one. null: 1.",
    )
    block_rates: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(
        {},
        description="Learning rate multiplier of each block (alpha_j of the paper's equation 3): head, and "
        "the blocks in docs/fine-tuning.md; 1 for blocks that are not named.",
    )

    @field_validator("weights")
    @classmethod
    def _expand_home(cls, weights: str) -> str:
        return str(expand_home(Path(weights)))

    @property
    def weights_file(self) -> Path | None:
        """The weights file, if `weights` is the path of one."""
        return None if self.weights in ("imagenet", "none") else Path(self.weights)


class CandidateConfig(BackboneConfig):
    """A model of the comparison: a backbone, and what differs from the common settings."""

    image: dict[str, Any] = Field(
        {}, description="Settings of `image` that differ for this candidate, such as {size: 299}."
    )
    head: dict[str, Any] = Field(
        {}, description="Settings of `head` that differ for this candidate, such as {variant: serial}."
    )
    training: dict[str, Any] = Field(
        {}, description="Settings of `training` that differ for this candidate, such as {batch_size: 16}."
    )


class HeadConfig(Section):
    """The head on each backbone: a CNN branch beside an LSTM branch, concatenated, then dense layers."""

    variant: Literal["parallel", "serial", "none"] = Field(
        "parallel",
        description="Branches of the head. parallel: CNN and LSTM branch; serial: LSTM branch alone; none: "
        "CNN branch alone.",
    )
    lstm_units: int = Field(
        128, ge=1, description="Size of the LSTM layer.", json_schema_extra={"unit": "units"}
    )
    dense_units: int = Field(
        256, ge=1, description="Size of each of the two dense layers.", json_schema_extra={"unit": "units"}
    )
    dropout: float = Field(
        0.5, ge=0, lt=1, description="Dropout rate.", json_schema_extra={"unit": "fraction of the units"}
    )


BackboneName = Literal["mobilenet", "vgg16", "resnet50", "resnet101", "resnet152", "efficientnetv2b0"]
IMPORT_PATH = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
BACKBONE_NAMES: tuple[BackboneName, ...] = get_args(BackboneName)
# The paper's backbones: the default candidates.
PAPER_BACKBONES: tuple[BackboneName, ...] = ("mobilenet", "vgg16", "resnet50", "resnet101", "resnet152")
OfflineAugmentation = Literal[
    "original", "flip_horizontal", "flip_vertical", "rotate_90", "rotate_180", "rotate_270"
]


class CalibrationConfig(Section):
    """Calibration and decision threshold, fitted on validation images."""

    temperature: bool = Field(
        True, description="Scale logits by a fitted temperature; false leaves the probabilities uncalibrated."
    )
    threshold: Literal["youden", "sensitivity"] | Fraction = Field(
        "youden",
        description="Probability at and above which an image is positive. youden: maximizes sensitivity + "
        "specificity; sensitivity: the highest that reaches target_sensitivity; otherwise the number given.",
    )
    target_sensitivity: float = Field(
        0.95,
        gt=0,
        le=1,
        description="Sensitivity to reach on validation images with threshold=sensitivity.",
        json_schema_extra={"unit": "fraction of the positive images"},
    )


class OodConfig(Section):
    """Out-of-distribution detection: flags images unlike the training images, blurred or without tissue."""

    false_reject_rate: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Fraction of validation images that may be flagged as out of distribution.",
        json_schema_extra={"unit": "fraction of the images"},
    )
