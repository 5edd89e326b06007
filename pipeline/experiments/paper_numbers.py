"""What Dsouza & Ansari (2022) report, as far as it stands in text or tables."""

from __future__ import annotations

from typing import Final

ACCURACY: Final = {
    "mobilenet": 0.74,
    "resnet101": 0.90,
    "resnet152": 0.92,
}  # of images; VGG16's is in a figure
STOPPED_AFTER: Final = {"mobilenet": 43, "vgg16": 43, "resnet101": 103, "resnet152": 74}  # epochs
YEAR: Final = {"mobilenet": 2017, "vgg16": 2014, "resnet50": 2015, "resnet101": 2015, "resnet152": 2015}
