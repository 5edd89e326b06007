"""What a search makes better."""

from __future__ import annotations

from typing import Final

import numpy as np

DIRECTIONS: Final = {"val_loss": "min", "balanced_accuracy": "max"}
_LEAST = 1e-7  # probability, as Keras has it


def score(probabilities: np.ndarray, labels: np.ndarray, *, objective: str) -> float:
    """The objective on the images that a fold holds out.

    Args:
        probabilities: of both classes [images, 2].
        labels: [images], both classes among them.
        objective: `val_loss`, the mean of -log p(label), or `balanced_accuracy`, the mean of both classes'
            recalls where the larger probability decides.
    """
    if objective == "val_loss":
        own = np.asarray(probabilities, "float64")[np.arange(len(labels)), labels]
        return float(-np.log(np.maximum(own, _LEAST)).mean())
    right = probabilities.argmax(axis=1) == labels
    return float(np.mean([right[labels == label].mean() for label in (0, 1)]))
