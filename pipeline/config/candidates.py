"""The models that are compared: what they see, their backbones, what stands on them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.section import Section


class ImageConfig(Section):
    """What Transform makes of an image."""

    size: int = Field(227, ge=32, le=1024)  # pixels per side, bilinear
    # image: per-image global contrast normalisation; backbone: the scaling its ImageNet weights were trained
    # with; dataset: mean and deviation of the training images
    normalisation: Literal["image", "backbone", "dataset"] = "image"
    # before it, in the model: every image gets the stains of the training images
    stain_normalisation: Literal["none", "macenko", "reinhard"] = "none"


class CandidateConfig(Section):
    """One backbone of the comparison."""

    weights: str = (
        "imagenet"  # imagenet (downloaded by Keras once), none, or the path of a no-top weights file
    )
    alpha: float | None = Field(None, gt=0, le=2)  # width multiplier, MobileNet only
    # alpha_j of the paper's eq (3), 1 where not named, by block: head, and those in docs/fine-tuning.md
    block_rates: dict[str, Annotated[float, Field(ge=0, le=100)]] = {}

    @property
    def weights_file(self) -> Path | None:
        """The file, where `weights` is the path of one."""
        return None if self.weights in ("imagenet", "none") else Path(self.weights)


class HeadConfig(Section):
    """What stands on the backbone: a CNN branch beside an LSTM branch, concatenated and classified."""

    # parallel: both branches; serial: the LSTM alone; none: the CNN branch alone
    variant: Literal["parallel", "serial", "none"] = "parallel"
    lstm_units: int = Field(128, ge=1)
    dense_units: int = Field(256, ge=1)  # of each of the two fully connected layers
    dropout: float = Field(0.5, ge=0, lt=1)
