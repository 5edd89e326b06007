"""What Dsouza & Ansari (2022) report, and what is known of the networks they compare."""

from __future__ import annotations

from typing import Final

# Accuracies on test images, which the paper splits by image and not by patient. VGG16 stands in a figure
# without a number, ResNet50 is named without a result.
ACCURACY: Final = {"mobilenet": 0.74, "resnet101": 0.90, "resnet152": 0.92}
CITATION: Final = "Dsouza & Ansari, Applied Computer Science 18(1), 2022"

# The year in which each backbone was published.
YEAR: Final = {
    "vgg16": 2014,
    "resnet50": 2015,
    "resnet101": 2015,
    "resnet152": 2015,
    "mobilenet": 2017,
    "efficientnetv2b0": 2021,
}
