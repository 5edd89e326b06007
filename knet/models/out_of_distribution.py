"""Out-of-distribution detection: Mahalanobis distance of embeddings, and limits on tissue and sharpness."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassGaussians:
    """Gaussians of the classes over embeddings, with a common covariance (Lee et al., NeurIPS 2018, eq 1).

    The covariance is shrunk (Ledoit & Wolf, J Multivariate Anal 88:365-411, 2004), as there may be fewer
    images than units.
    """

    means: NDArray[np.float64]  # [classes, units]
    whitening: NDArray[np.float64]  # [units, units]: W with W Wᵀ = inverse of the covariance

    @classmethod
    def fit(cls, embeddings: NDArray[np.floating], labels: NDArray[np.integer]) -> ClassGaussians:
        """Fit means and covariance to training images.

        Args:
            embeddings: float [images, units].
            labels: int [images].
        """
        from scipy import linalg
        from sklearn.covariance import LedoitWolf

        classes, index = np.unique(labels, return_inverse=True)
        embeddings = embeddings.astype(float)
        means = np.stack([embeddings[labels == label].mean(axis=0) for label in classes])
        shrunk = LedoitWolf(assume_centered=True).fit(embeddings - means[index.ravel()]).covariance_
        root = linalg.cholesky(shrunk + _MIN_VARIANCE * np.eye(len(shrunk)), lower=True)
        return cls(means, linalg.solve_triangular(root, np.eye(len(root)), lower=True).T)

    def distances(self, embeddings: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the Mahalanobis distances to the nearest class mean, [images].

        Args:
            embeddings: float [images, units].
        """
        whitened = (embeddings.astype(float)[:, None, :] - self.means) @ self.whitening
        return np.sqrt(np.square(whitened).sum(axis=2).min(axis=1))


_MIN_VARIANCE = 1e-6  # added to every unit's, which is 0 for a unit that is constant on the training images


@dataclass(frozen=True)
class ImageMeasurements:
    """Measurements of images that `ImageLimits` limits, each [images]."""

    tissue_fraction: NDArray[np.floating]  # see knet.base.image_scalars
    laplacian: NDArray[np.floating]  # variance, see knet.base.image_scalars
    distance: NDArray[np.floating]  # from `ClassGaussians.distances`


@dataclass(frozen=True)
class ImageLimits:
    """Limits of in-distribution images, inclusive."""

    min_tissue: float  # tissue fraction, 0 to 1
    min_sharpness: float  # variance of the Laplacian
    max_sharpness: float
    max_distance: float  # Mahalanobis distance

    @classmethod
    def fit(
        cls, train: ImageMeasurements, validation: ImageMeasurements, *, false_reject_rate: float
    ) -> ImageLimits:
        """Fit the limits to training and validation images.

        - Each of the three limits on tissue and sharpness rejects at most a tenth of `false_reject_rate` of
          the training images, and of the validation images.
        - The maximal distance is chosen on validation images (training images are nearer, as the Gaussians
          were fitted to them), so that at most `false_reject_rate` of them are rejected in all.

        Args:
            train: measurements of the training images.
            validation: measurements of the validation images.
            false_reject_rate: fraction of the validation images, 0 to 1.
        """
        rate = _RATE_PER_PIXEL_LIMIT * false_reject_rate
        both = (train, validation)
        limits = cls(
            min_tissue=_LESS * min(_lower_quantile(images.tissue_fraction, rate) for images in both),
            min_sharpness=_LESS * min(_lower_quantile(images.laplacian, rate) for images in both),
            max_sharpness=_MORE * max(-_lower_quantile(-images.laplacian, rate) for images in both),
            max_distance=np.inf,
        )
        passing = np.sort(validation.distance[~limits.rejects(validation)])
        rejected = len(validation.distance) - len(passing)
        spare = int(false_reject_rate * len(validation.distance)) - rejected
        return replace(limits, max_distance=_MORE * float(passing[-1 - spare]))

    def rejects(self, images: ImageMeasurements) -> NDArray[np.bool_]:
        """Return which images violate a limit or have a NaN measurement, [images]."""
        within = (
            (images.tissue_fraction >= self.min_tissue)
            & (images.laplacian >= self.min_sharpness)
            & (images.laplacian <= self.max_sharpness)
            & (images.distance <= self.max_distance)
        )
        return ~within

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """Read the former field names too, of models and run records written by earlier versions."""
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(with_current_limit_names, handler(source))


# Part of the false reject rate that each limit on tissue and sharpness may use; the distance has the rest.
_RATE_PER_PIXEL_LIMIT = 0.1
_LESS, _MORE = 1 - 1e-4, 1 + 1e-4  # tolerance: serving may measure other last digits than ingestion


def _lower_quantile(values: NDArray[np.floating], q: float) -> float:
    """Return the largest of the values that at most a fraction q of them is below."""
    return float(np.quantile(values, q, method="lower"))


_FORMER_NAMES = {
    "least_tissue": "min_tissue",
    "least_laplacian": "min_sharpness",
    "largest_laplacian": "max_sharpness",
    "largest_distance": "max_distance",
}


def with_current_limit_names(limits: Any) -> Any:
    """Return stored limits with renamed fields under their current names.

    Args:
        limits: JSON object; anything else is returned unchanged.
    """
    if not isinstance(limits, dict):
        return limits
    return {_FORMER_NAMES.get(name, name): value for name, value in limits.items()}
