"""What all arms say of the test images of one fold."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.experiments.outcome import Outcome


@dataclass(frozen=True)
class TestedFold:
    """One fold: its test images, in their order, and what every arm says of them."""

    paths: tuple[str, ...]
    labels: tuple[int, ...]
    outcomes: dict[str, Outcome]  # by arm
