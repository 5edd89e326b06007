"""What a SavedModel says about itself: a small JSON file in its `assets.extra`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from knet.base import artifact_files
from knet.models.calibration import Calibration
from knet.models.out_of_distribution import ImageLimits


@dataclass(frozen=True)
class ModelInfo:
    """How a model came to be."""

    candidate: str
    weights: str  # what it started from: imagenet, none, or a file's name
    classes: tuple[str, ...]
    image_size: int  # pixels per side
    parameters: int
    flops: int  # floating-point operations of one image, as pipeline.models.count_flops counts them
    train_images: int
    validation_images: int
    epochs: int  # that were run
    learning_rate: float
    momentum: float
    seconds: float  # that the Trainer took
    calibration: Calibration  # on validation images
    image_limits: ImageLimits
    rejected: dict[str, float]  # share of train and of validation images beyond the limits
    device: str  # such as 1 x CPU
    seed: int
    synthetic_data: bool  # trained on the synthetic sample images: says nothing about tissue
    fingerprint: str  # of the data's files; empty where it was not known when the graph was compiled
    split_sha256: str  # of the frozen split, likewise
    examples_sha256: str  # of the pixels and labels of train and validation
    candidate_sha256: str  # of all settings that bear on the training, without the tuned ones
    code_sha256: str  # of the code that trained, with the versions of its libraries
    commit: str | None  # of that code, where it is a checkout
    tuned: dict[str, float] = field(default_factory=dict)  # what the Tuner chose; empty where there is none


def write_model_info(folder: Path, info: ModelInfo) -> None:
    """Writes it into a SavedModel's folder."""
    (folder / artifact_files.MODEL_INFO).parent.mkdir(parents=True, exist_ok=True)
    (folder / artifact_files.MODEL_INFO).write_text(json.dumps(asdict(info), indent=2), encoding="utf-8")


def read_model_info(folder: Path) -> ModelInfo:
    """Reads it from a SavedModel's folder, or from a TFX Model artifact's."""
    from pydantic import TypeAdapter  # which other users of a ModelInfo do without

    return TypeAdapter(ModelInfo).validate_json(_read(folder))


def read_threshold(folder: Path) -> float:
    """The score from which the model in such a folder calls an image positive."""
    return float(json.loads(_read(folder))["calibration"]["threshold"])


def _read(folder: Path) -> bytes:
    served = folder / artifact_files.SERVING_FORMAT
    return ((served if served.is_dir() else folder) / artifact_files.MODEL_INFO).read_bytes()
