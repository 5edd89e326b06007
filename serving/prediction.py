"""What the served model says of one image."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """The answer for one image.

    `label` is the class with the highest probability, `score` the probability of the positive class (0 to 1),
    `probabilities` maps each class to its probability, and `model_version` is the version that answered.
    """

    label: str
    score: float
    probabilities: dict[str, float]
    model_version: int

    @property
    def positive_class(self) -> str:
        """The class that `score` is the probability of: the last of `probabilities`."""
        return list(self.probabilities)[-1]
