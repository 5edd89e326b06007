"""What the served model says of one image."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    `label` is what the model calls the image, by the threshold that was locked when it was trained; `score`
    is the probability of the positive class (0 to 1), `probabilities` maps each class to its own, and
    `model_version` is the version that answered. `in_distribution` says whether the image is like those that
    the model was made for; where it is not, the rest is not to be relied on, and `reasons` says why, such as
    `blurred`. `distance` is how far the image is from those that were trained on. `threshold` is the score
    from which an image or a patient is called positive; None of a model exported before models said so.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    model_version: int
    in_distribution: bool
    reasons: tuple[str, ...]
    distance: float
    threshold: float | None = None

    @property
    def positive_class(self) -> str:
        """The class that `score` is the probability of: the last of `probabilities`."""
        return list(self.probabilities)[-1]
