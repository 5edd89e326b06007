"""Numbers and protocol of the paper, beside which the results stand."""

from __future__ import annotations

import math
from typing import Final

CITATION: Final = "Dsouza & Ansari, “LSTM-KNet152”, Applied Computer Science 18(1):20-36, 2022"

# Accuracy on test images by backbone. The paper gives no number for VGG16 and no result for ResNet50.
ACCURACY: Final = {"mobilenet": 0.74, "resnet101": 0.90, "resnet152": 0.92}
# Epochs trained with early stopping.
STOPPED_AFTER: Final = {"mobilenet": 43, "vgg16": 43, "resnet101": 103, "resnet152": 74}
# Numbers of the figures with the curves of a backbone.
FIGURES: Final = {
    "mobilenet": range(5, 9),
    "vgg16": range(9, 13),
    "resnet101": range(13, 17),
    "resnet152": range(17, 21),
}
NO_NUMBER: Final = "no number in the text"  # in place of a number that the paper lacks

YEAR: Final = {  # of publication of the backbone
    "vgg16": 2014,
    "resnet50": 2015,
    "resnet101": 2015,
    "resnet152": 2015,
    "mobilenet": 2017,
    "efficientnetv2b0": 2021,
}


def accuracy_text(backbone: str) -> str:
    """Return the accuracy as text, or that there is none."""
    return f"{ACCURACY[backbone]:.2f}" if backbone in ACCURACY else NO_NUMBER


_PATIENTS: Final = 8  # for test: 10 % of the 82 that BreaKHis counts; of its 70 accessions 7
_QUANTILE: Final = 1.96  # of the normal distribution, for 95 %


def wilson_interval(accuracy: float) -> tuple[float, float]:
    """Return the 95 % interval (Wilson) of an accuracy over as many patients as the paper has for test."""
    spread = _QUANTILE**2 / _PATIENTS
    middle = accuracy + spread / 2
    half = _QUANTILE * math.sqrt((accuracy * (1 - accuracy) + spread / 4) / _PATIENTS)
    return (middle - half) / (1 + spread), (middle + half) / (1 + spread)


_LOW, _HIGH = wilson_interval(ACCURACY["resnet152"])
PROTOCOL: Final = (
    "The paper states that no patient of the training set is in the test set, 10 % of the patients. It does "
    "not say whether training and validation share patients, and gives no interval. Its test set has about "
    f"{_PATIENTS} patients; with {_PATIENTS}, an accuracy of {100 * ACCURACY['resnet152']:.0f} % has a 95 % "
    f"interval of {_LOW:.2f} to {_HIGH:.2f}."
)
