"""The points of ROC and precision-recall curves."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pipeline.report.curve_points import MOST, curve_points

SCORES, LABELS = np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0])


def test_a_small_case_is_as_by_hand() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.5)
    assert curves is not None
    assert curves.roc == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert set(curves.precision_recall) == {(1, 0.5), (1, 2 / 3), (0.5, 0.5), (0.5, 1), (0, 1)}
    assert (curves.roc_at, curves.precision_recall_at) == ((0.5, 0.5), (0.5, 0.5))


def test_an_image_at_the_threshold_is_called_positive() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.8)
    assert curves is not None and curves.roc_at == (0.5, 0.5)


def test_where_nothing_is_called_positive_precision_is_undefined() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.95)
    assert curves is not None
    assert curves.roc_at == (0, 0) and math.isnan(curves.precision_recall_at[1])


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_one_class_has_no_curves(labels: list[int]) -> None:
    assert curve_points(SCORES, np.array(labels), threshold=0.5) is None


def test_many_images_have_few_points_and_the_ends_stay() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 20_000)
    curves = curve_points(generator.normal(labels, 1), labels, threshold=0.5)
    assert curves is not None
    assert len(curves.roc) <= MOST and len(curves.precision_recall) <= MOST
    assert (curves.roc[0], curves.roc[-1]) == ((0, 0), (1, 1))
