"""Reinhard's transfer of colours."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from pipeline.models.stain_normalization import StainNormalization

# Reinhard et al., Color transfer between images, IEEE CG&A 21(5), 2001: eqs 3, 6 and 9, and their inverses.
_TO_LMS = np.array(
    [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]], dtype="float32"
)
_TO_LAB = (
    np.diag(1 / np.sqrt([3, 6, 2])) @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
).astype("float32")  # fmt: skip
_LEAST_DEVIATION = 1e-3  # of an image of one colour, which keeps no deviation to stretch


@keras.saving.register_keras_serializable("knet")
class ReinhardNormalization(StainNormalization):
    """Gives every image the means and deviations of the reference in the colour space lαβ.

    A measurement holds three means and three deviations.
    """

    length: ClassVar[int] = 6

    @staticmethod
    def measure(pixels: Any) -> tuple[Any, Any]:
        """Means and deviations over all pixels; every image has them."""
        lab = _to_lab(pixels)
        measured = ops.concatenate([ops.mean(lab, axis=(1, 2)), ops.std(lab, axis=(1, 2))], axis=-1)
        return measured, ops.ones(ops.shape(pixels)[:1], dtype="bool")

    @staticmethod
    def transfer(pixels: Any, measured: Any, reference: Any) -> Any:
        """The images with the reference's means and deviations."""
        mean, deviation = measured[:, None, None, :3], measured[:, None, None, 3:]
        scaled = (_to_lab(pixels) - mean) / ops.maximum(deviation, _LEAST_DEVIATION)
        logarithms = ops.matmul(scaled * reference[3:] + reference[:3], np.linalg.inv(_TO_LAB).T)
        return ops.matmul(ops.power(10.0, logarithms), np.linalg.inv(_TO_LMS).T) - 1


def _to_lab(pixels: Any) -> Any:
    lms = ops.matmul(pixels + 1.0, _TO_LMS.T)  # 1: no logarithm of 0
    return ops.matmul(ops.log10(lms), _TO_LAB.T)
