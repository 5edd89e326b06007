"""Between which limits an image must be for the model's answer to be relied on."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

# Of the false rejects that are allowed, what each limit on the pixels may cost; the distance has the rest.
_SHARE_OF_A_LIMIT = 0.1
_LESS, _MORE = 1 - 1e-4, 1 + 1e-4  # since what is measured when serving may differ in the last digits


@dataclass(frozen=True)
class Measured:
    """What images are judged by, each [images]."""

    tissue_fraction: NDArray[np.floating]  # as in components.breakhis_example_gen.image_scalars
    laplacian: NDArray[np.floating]  # likewise
    distance: NDArray[np.floating]  # of ClassGaussians


@dataclass(frozen=True)
class ImageLimits:
    """The limits, which themselves are allowed."""

    least_tissue: float
    least_laplacian: float
    largest_laplacian: float
    largest_distance: float

    @classmethod
    def fit(cls, train: Measured, validation: Measured, *, false_reject_rate: float) -> ImageLimits:
        """Puts limits on the pixels by training images, and on the distance by validation images.

        A limit on the pixels rejects at most a tenth of `false_reject_rate` of the training images, and is
        loosened until that is so of the validation images too. The distance is cut so that in all at most
        `false_reject_rate` of the validation images are rejected. (Distances of training images would be too
        short: the Gaussians were fitted on them.)
        """
        share = _SHARE_OF_A_LIMIT * false_reject_rate
        both = (train, validation)
        limits = cls(
            least_tissue=_LESS * min(_lower(images.tissue_fraction, share) for images in both),
            least_laplacian=_LESS * min(_lower(images.laplacian, share) for images in both),
            largest_laplacian=_MORE * max(-_lower(-images.laplacian, share) for images in both),
            largest_distance=np.inf,
        )
        passing = np.sort(validation.distance[~limits.rejects(validation)])
        rejected = len(validation.distance) - len(passing)
        spare = int(false_reject_rate * len(validation.distance)) - rejected
        return replace(limits, largest_distance=_MORE * float(passing[-1 - spare]))

    def rejects(self, images: Measured) -> NDArray[np.bool_]:
        """Which images [images] are beyond a limit; what is undefined is."""
        within = (
            (images.tissue_fraction >= self.least_tissue)
            & (images.laplacian >= self.least_laplacian)
            & (images.laplacian <= self.largest_laplacian)
            & (images.distance <= self.largest_distance)
        )
        return ~within


def _lower(values: NDArray[np.floating], share: float) -> float:
    """The value that at most so many are below."""
    return float(np.quantile(values, share, method="lower"))
