"""Limits reject what training never saw, and no more of validation than they may."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.ood.image_limits import ImageLimits, Measured


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
