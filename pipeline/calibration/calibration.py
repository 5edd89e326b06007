"""What a calibration comes to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ReliabilityBin:
    """The images with scores from `low` up to `high`."""

    low: float
    high: float
    images: int
    mean_score: float | None  # None where there are no images
    positive_share: float | None


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram, and what it comes to."""

    log_loss: float  # nats
    brier: float  # mean square of score - label
    calibration_error: float  # mean over images of |mean score - share of positives| of their bin
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class Calibration:
    """How a model's logits become an answer, and how that fares on the images it was fitted on."""

    temperature: float
    threshold: float  # the calibrated score from which an image is called positive
    confusion: tuple[tuple[int, int], tuple[int, int]]  # rows are true classes, columns what they are called
    before: Reliability  # at temperature 1
    after: Reliability
