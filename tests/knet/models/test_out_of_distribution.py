"""Distances are those of Mahalanobis, to the nearest class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from knet.models.out_of_distribution import ClassGaussians, ImageLimits, Measured


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


def measured(distances: np.ndarray, *, tissue: float = 0.5, laplacian: float = 100.0) -> Measured:
    return Measured(np.full(len(distances), tissue), np.full(len(distances), laplacian), distances)


VALUES = st.floats(0, 1e6, width=32)


@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=40),
    st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=5),
    st.floats(0, 0.99),
)
def test_of_validation_no_more_is_rejected_than_asked(
    validation: list[tuple[float, ...]], train: list[tuple[float, ...]], rate: float
) -> None:
    images = Measured(*np.array(validation).T)
    limits = ImageLimits.fit(Measured(*np.array(train).T), images, false_reject_rate=rate)
    assert limits.rejects(images).mean() <= rate


def test_the_rate_is_used_up() -> None:
    validation = measured(np.arange(1.0, 101))
    limits = ImageLimits.fit(measured(np.ones(3)), validation, false_reject_rate=0.05)
    assert limits.rejects(validation).sum() == 5
    assert limits.largest_distance == pytest.approx(95, rel=1e-3)


def test_what_limits_on_the_pixels_reject_counts() -> None:
    tissue = np.array([0.1, 0.2] + [0.5] * 398)
    validation = Measured(tissue, np.full(400, 100.0), np.array([999.0] * 2 + [*range(398)]))
    limits = ImageLimits.fit(measured(np.ones(3)), validation, false_reject_rate=0.05)
    assert limits.least_tissue == pytest.approx(0.2, rel=1e-3)  # one image in 200 may be below
    assert limits.rejects(validation).sum() == 20
    assert limits.largest_distance == pytest.approx(379, rel=1e-3)


def test_limits_on_the_pixels_pass_over_a_few_odd_training_images() -> None:
    train = Measured(np.linspace(0, 1, 1001), np.linspace(10, 1010, 1001), np.ones(1001))
    limits = ImageLimits.fit(train, measured(np.ones(5)), false_reject_rate=0.1)
    assert (limits.least_tissue, limits.least_laplacian, limits.largest_laplacian) == pytest.approx(
        (0.01, 20, 1000), rel=1e-3
    )


@pytest.mark.parametrize("odd", [(0.1, 100, 1), (0.5, 1, 1), (0.5, 1e4, 1), (0.5, 100, 9)])
def test_each_limit_rejects_and_so_does_what_is_undefined(odd: tuple[float, float, float]) -> None:
    limits = ImageLimits(0.2, 10, 1000, 5)
    good = (0.5, 100.0, 1.0)
    undefined = [value if value == other else np.nan for value, other in zip(good, odd, strict=True)]
    columns = np.array([good, odd, undefined], float).T
    assert limits.rejects(Measured(*columns)).tolist() == [False, True, True]
