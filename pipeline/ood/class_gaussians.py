"""How far an image is from those that were trained on, in what the last layer but one makes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from sklearn.covariance import LedoitWolf

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
