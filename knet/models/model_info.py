"""Metadata of a trained model, stored in its SavedModel as assets.extra/knet.json."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from knet.base import artifact_files
from knet.base.split_units import PATIENT
from knet.models.calibration import Calibration
from knet.models.out_of_distribution import ImageLimits, with_current_limit_names


@dataclass(frozen=True)
class ModelInfo:
    """Metadata of a trained model."""

    candidate: str
    weights: str  # initial: imagenet, none, or a file's name
    classes: tuple[str, ...]
    image_size: int  # pixels per side
    parameters: int
    flops: int  # floating-point operations per image, see knet.models.hybrid.count_flops
    train_images: int
    validation_images: int
    epochs: int  # trained, until early stopping
    learning_rate: float
    momentum: float | None  # of SGD
    seconds: float  # of the Trainer
    calibration: Calibration  # fitted on validation images
    image_limits: ImageLimits
    rejected: dict[str, float]  # fraction of the train and validation images beyond the limits
    device: str  # such as 1 x CPU
    seed: int
    synthetic_data: bool  # trained on synthetic sample images, so useless for tissue
    fingerprint: str  # of the data's files; empty if unknown when the graph was compiled
    split_sha256: str  # of the frozen split; empty if unknown when the graph was compiled
    examples_sha256: str  # of the pixels and labels of train and validation
    candidate_sha256: str  # of all settings that affect training, before tuning
    code_sha256: str  # of the Trainer's code and library versions
    commit: str | None  # of the code; None outside a checkout
    tuned: dict[str, float] = field(default_factory=dict)  # by the Tuner; empty without one
    backbone: str = ""  # empty in models of earlier versions, whose candidates are named after it
    head: str = "parallel"  # its variant
    optimizer: str = "sgd"
    weight_decay: float | None = None  # of AdamW
    loss: str = "crossentropy"
    split_unit: str = PATIENT  # unit that the data were split by; others leak patients into test
    positive: tuple[str, ...] = ()  # group of classes that the threshold is of; of two it is the second

    @property
    def title(self) -> str:
        """Name of the candidate, with that of its backbone where they differ: `deep (resnet152)`."""
        other = self.backbone not in ("", self.candidate)
        return f"{self.candidate} ({self.backbone})" if other else self.candidate


def write_model_info(folder: Path, info: ModelInfo) -> None:
    """Write a model's metadata into its SavedModel.

    Args:
        folder: the SavedModel.
        info: metadata.
    """
    (folder / artifact_files.MODEL_INFO).parent.mkdir(parents=True, exist_ok=True)
    (folder / artifact_files.MODEL_INFO).write_text(json.dumps(asdict(info), indent=2), encoding="utf-8")


def read_model_info(folder: Path) -> ModelInfo:
    """Read a model's metadata; fields that earlier versions wrote under other names are renamed.

    Args:
        folder: a SavedModel, or a TFX Model artifact.
    """
    from pydantic import TypeAdapter  # so that the dataclass can be imported without pydantic

    return TypeAdapter(ModelInfo).validate_json(_read(folder))


def read_model_card(folder: Path) -> dict[str, Any]:
    """Read a model's metadata as a JSON object, with current names, for a page about a model of any version.

    Args:
        folder: a SavedModel, or a TFX Model artifact.
    """
    tree: dict[str, Any] = json.loads(_read(folder))
    if "image_limits" in tree:
        tree["image_limits"] = with_current_limit_names(tree["image_limits"])
    return tree


@dataclass(frozen=True)
class Decision:
    """The classes that a model decides between, and how."""

    classes: tuple[str, ...]
    positive: tuple[str, ...]  # group of more than two classes that the threshold is of; empty without one
    threshold: float | None  # None for more than two classes without a positive group


def read_decision(folder: Path) -> Decision:
    """Read what a model of any version decides between.

    Args:
        folder: a SavedModel, or a TFX Model artifact.
    """
    tree = json.loads(_read(folder))
    threshold = tree["calibration"]["threshold"]
    return Decision(
        classes=tuple(tree["classes"]),
        positive=tuple(tree.get("positive", ())),
        threshold=None if threshold is None else float(threshold),
    )


def _read(folder: Path) -> bytes:
    served = folder / artifact_files.SERVING_FORMAT
    return ((served if served.is_dir() else folder) / artifact_files.MODEL_INFO).read_bytes()
