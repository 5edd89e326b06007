"""How far an image is from those that were trained on, in what the last layer but one makes of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

_LEAST_VARIANCE = 1e-6  # of a unit that is the same on every training image


@dataclass(frozen=True)
class ClassGaussians:
    """A Gaussian of each class over penultimate vectors, with a common covariance (Lee et al., NeurIPS 2018).

    The covariance is shrunk (Ledoit & Wolf, J Multivariate Anal 88:365-411, 2004): there may be fewer images
    than units.
    """

    means: NDArray[np.float64]  # [classes, units]
    whitening: NDArray[np.float64]  # [units, units], W with W Wᵀ the inverse of the covariance

    @classmethod
    def fit(cls, vectors: NDArray[np.floating], labels: NDArray[np.integer]) -> ClassGaussians:
        """Fits on training images.

        Args:
            vectors: [images, units].
            labels: [images].
        """
        from scipy import linalg
        from sklearn.covariance import LedoitWolf

        present, places = np.unique(labels, return_inverse=True)
        vectors = vectors.astype(float)
        means = np.stack([vectors[labels == label].mean(axis=0) for label in present])
        shrunk = LedoitWolf(assume_centered=True).fit(vectors - means[places.ravel()]).covariance_
        root = linalg.cholesky(shrunk + _LEAST_VARIANCE * np.eye(len(shrunk)), lower=True)
        return cls(means, linalg.solve_triangular(root, np.eye(len(root)), lower=True).T)

    def distances(self, vectors: NDArray[np.floating]) -> NDArray[np.float64]:
        """The Mahalanobis distances [images] of vectors [images, units] to the nearest class."""
        apart = (vectors.astype(float)[:, None, :] - self.means) @ self.whitening
        return np.sqrt(np.square(apart).sum(axis=2).min(axis=1))


# Of the false rejects that are allowed, what each limit on the pixels may cost; the distance has the rest.
_SHARE_OF_A_LIMIT = 0.1
_LESS, _MORE = 1 - 1e-4, 1 + 1e-4  # since what is measured when serving may differ in the last digits


@dataclass(frozen=True)
class Measured:
    """What images are judged by, each [images]."""

    tissue_fraction: NDArray[np.floating]  # as in knet.base.image_scalars
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
