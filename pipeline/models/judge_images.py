"""Within a graph: whether images are such that the model's answer may be relied on, and why not."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from pipeline import features
from pipeline.ood.class_gaussians import ClassGaussians
from pipeline.ood.image_limits import ImageLimits


def judge_images(
    vectors: Any, tissue: Any, laplacian: Any, *, gaussians: ClassGaussians, limits: ImageLimits
) -> dict[str, Any]:
    """The outputs `distance`, `in_distribution` and `reasons` of `pipeline.features`.

    Args:
        vectors: float32 [batch, units], penultimate.
        tissue: float32 [batch], the share of tissue.
        laplacian: float32 [batch], the variance of the Laplacian.
        gaussians: that distances are measured from.
        limits: that an image must keep to.
    """
    means, whitening = (tf.constant(part, tf.float32) for part in (gaussians.means, gaussians.whitening))
    apart = tf.linalg.matmul(vectors[:, None, :] - means, whitening)
    distance = tf.sqrt(tf.reduce_min(tf.reduce_sum(tf.square(apart), axis=2), axis=1))
    within = {
        features.LITTLE_TISSUE: tissue >= limits.least_tissue,
        features.BLURRED: laplacian >= limits.least_laplacian,
        features.NOISY: laplacian <= limits.largest_laplacian,
        features.UNLIKE_TRAINING: distance <= limits.largest_distance,
    }
    kept = tf.stack(list(within.values()), axis=1)
    return {
        features.DISTANCE: distance,
        features.IN_DISTRIBUTION: tf.reduce_all(kept, axis=1),
        features.REASONS: tf.where(kept, "", tf.constant(list(within))),
    }
