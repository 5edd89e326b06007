"""Distances are those of Mahalanobis, to the nearest class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import LedoitWolf

from knet.models.out_of_distribution import ClassGaussians, ImageLimits, ImageMeasurements


def test_distances_equal_scipy_with_the_shrunk_covariance() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    embeddings = rng.normal(size=(40, 5)) @ rng.normal(size=(5, 5)) + 4 * labels[:, None]
    found = ClassGaussians.fit(embeddings, labels)
    means = [embeddings[labels == label].mean(axis=0) for label in (0, 1)]
    centred = embeddings - np.array(means)[labels]
    inverse = np.linalg.inv(LedoitWolf(assume_centered=True).fit(centred).covariance_)
    others = rng.normal(0, 9, (20, 5))
    expected = [min(mahalanobis(other, mean, inverse) for mean in means) for other in others]
    np.testing.assert_allclose(found.distances(others), expected, rtol=1e-4)


def test_distance_of_a_class_mean_is_0() -> None:
    embeddings, labels = np.random.default_rng(0).normal(size=(10, 3)), np.arange(10) % 2
    found = ClassGaussians.fit(embeddings, labels)
    np.testing.assert_allclose(found.distances(found.means), 0, atol=1e-9)


def test_fit_with_fewer_images_than_units_and_constant_units() -> None:
    embeddings = np.random.default_rng(0).normal(size=(6, 20))
    embeddings[:, 10:] = 1
    found = ClassGaussians.fit(embeddings, np.arange(6) % 2)
    assert np.isfinite(found.distances(embeddings)).all()
    changed = embeddings.copy()
    changed[:, 15] = 50
    assert (found.distances(changed) > found.distances(embeddings).max()).all()


def test_fit_with_equal_embeddings_of_one_class() -> None:
    found = ClassGaussians.fit(np.ones((4, 3)), np.ones(4, int))
    assert found.means.shape == (1, 3)
    np.testing.assert_allclose(found.distances(np.ones((2, 3))), 0)
    assert found.distances(np.full((1, 3), 2.0))[0] > 1


def measured(distances: np.ndarray, *, tissue: float = 0.5, laplacian: float = 100.0) -> ImageMeasurements:
    return ImageMeasurements(np.full(len(distances), tissue), np.full(len(distances), laplacian), distances)


VALUES = st.floats(0, 1e6, width=32)


@given(
    st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=40),
    st.lists(st.tuples(VALUES, VALUES, VALUES), min_size=1, max_size=5),
    st.floats(0, 0.99),
)
def test_limits_reject_at_most_the_rate_of_validation(
    validation: list[tuple[float, ...]], train: list[tuple[float, ...]], rate: float
) -> None:
    images = ImageMeasurements(*np.array(validation).T)
    limits = ImageLimits.fit(ImageMeasurements(*np.array(train).T), images, false_reject_rate=rate)
    assert limits.rejects(images).mean() <= rate


def test_limits_use_the_whole_rate() -> None:
    validation = measured(np.arange(1.0, 101))
    limits = ImageLimits.fit(measured(np.ones(3)), validation, false_reject_rate=0.05)
    assert limits.rejects(validation).sum() == 5
    assert limits.max_distance == pytest.approx(95, rel=1e-3)


def test_limits_on_tissue_count_towards_the_rate() -> None:
    tissue = np.array([0.1, 0.2] + [0.5] * 398)
    validation = ImageMeasurements(tissue, np.full(400, 100.0), np.array([999.0] * 2 + [*range(398)]))
    limits = ImageLimits.fit(measured(np.ones(3)), validation, false_reject_rate=0.05)
    assert limits.min_tissue == pytest.approx(0.2, rel=1e-3)  # one image in 200 may be below
    assert limits.rejects(validation).sum() == 20
    assert limits.max_distance == pytest.approx(379, rel=1e-3)


def test_limits_on_pixels_ignore_outliers_of_training() -> None:
    train = ImageMeasurements(np.linspace(0, 1, 1001), np.linspace(10, 1010, 1001), np.ones(1001))
    limits = ImageLimits.fit(train, measured(np.ones(5)), false_reject_rate=0.1)
    assert (limits.min_tissue, limits.min_sharpness, limits.max_sharpness) == pytest.approx(
        (0.01, 20, 1000), rel=1e-3
    )


@pytest.mark.parametrize("odd", [(0.1, 100, 1), (0.5, 1, 1), (0.5, 1e4, 1), (0.5, 100, 9)])
def test_limits_reject_values_beyond_them_and_nan(odd: tuple[float, float, float]) -> None:
    limits = ImageLimits(0.2, 10, 1000, 5)
    good = (0.5, 100.0, 1.0)
    undefined = [value if value == other else np.nan for value, other in zip(good, odd, strict=True)]
    columns = np.array([good, odd, undefined], float).T
    assert limits.rejects(ImageMeasurements(*columns)).tolist() == [False, True, True]


def test_distances_of_five_classes_are_to_the_nearest_mean() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(50) % 5
    found = ClassGaussians.fit(rng.normal(size=(50, 3)) + 9 * labels[:, None], labels)
    assert found.means.shape == (5, 3)
    np.testing.assert_allclose(found.distances(found.means), 0, atol=1e-9)
    between = found.means[:1] / 2 + found.means[1:2] / 2
    assert found.distances(between)[0] > 1
