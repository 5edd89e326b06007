"""What one arm of a cross-validation came to on one fold."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.write_whole import write_whole


@dataclass(frozen=True)
class Outcome:
    """What validation patients chose, and what that says of the test images."""

    chosen: dict[str, float]  # learning_rate and best_epoch (from 1), or C
    trials: tuple[dict[str, float], ...]  # that it was chosen from, each with its val_loss
    scores: tuple[float, ...]  # of the test images, in their order: the probability of the second class
    seconds: float
    device: str

    def write(self, file: Path) -> None:
        """Writes it as JSON, whole or not at all."""
        write_whole(file, json.dumps(asdict(self)))


def read_outcome(file: Path) -> Outcome:
    """Reads it back."""
    tree = json.loads(file.read_text(encoding="utf-8"))
    return Outcome(**{**tree, "trials": tuple(tree["trials"]), "scores": tuple(tree["scores"])})
