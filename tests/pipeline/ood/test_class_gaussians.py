"""Distances are those of Mahalanobis, to the nearest class."""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from pipeline.ood.class_gaussians import ClassGaussians


def test_it_is_what_scipy_gives_with_the_shrunk_covariance() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    vectors = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + 4 * labels[:, None]
    found = ClassGaussians.fit(vectors, labels)
    means = [vectors[labels == label].mean(axis=0) for label in (0, 1)]
    centred = vectors - np.array(means)[labels]
    inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(centred).covariance_)
    others = rng.normal(0, 9, (20, 5))
    expected = [min(mahalanobis(other, mean, inverse) for mean in means) for other in others]
    np.testing.assert_allclose(found.distances(others), expected, rtol=1e-4)


def test_the_mean_of_a_class_is_at_no_distance() -> None:
    vectors, labels = np.random.default_rng(0).normal(size=(10, 3)), np.arange(10) % 2
    found = ClassGaussians.fit(vectors, labels)
    np.testing.assert_allclose(found.distances(found.means), 0, atol=1e-9)


def test_fewer_images_than_units_of_which_some_never_change() -> None:
    vectors = np.random.default_rng(0).normal(size=(6, 20))
    vectors[:, 10:] = 1
    found = ClassGaussians.fit(vectors, np.arange(6) % 2)
    assert np.isfinite(found.distances(vectors)).all()
    changed = vectors.copy()
    changed[:, 15] = 50
    assert (found.distances(changed) > found.distances(vectors).max()).all()


def test_vectors_that_are_all_the_same_and_one_class() -> None:
    found = ClassGaussians.fit(np.ones((4, 3)), np.ones(4, int))
    assert found.means.shape == (1, 3)
    np.testing.assert_allclose(found.distances(np.ones((2, 3))), 0)
    assert found.distances(np.full((1, 3), 2.0))[0] > 1
