"""Curves of the metric sections."""

from __future__ import annotations

import math

import numpy as np
import pytest

from knet.report.metric_sections import MAX_POINTS, curve_points

SCORES, LABELS = np.array([0.9, 0.8, 0.3, 0.1]), np.array([1, 0, 1, 0])


def test_curve_points_by_hand() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.5)
    assert curves is not None
    assert curves.roc == [(0, 0), (0, 0.5), (0.5, 0.5), (0.5, 1), (1, 1)]
    assert set(curves.precision_recall) == {(1, 0.5), (1, 2 / 3), (0.5, 0.5), (0.5, 1), (0, 1)}
    assert (curves.roc_at, curves.precision_recall_at) == ((0.5, 0.5), (0.5, 0.5))


def test_curve_points_score_at_threshold_is_positive() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.8)
    assert curves is not None and curves.roc_at == (0.5, 0.5)


def test_curve_points_precision_without_positive_predictions_is_nan() -> None:
    curves = curve_points(SCORES, LABELS, threshold=0.95)
    assert curves is not None and curves.precision_recall_at is not None
    assert curves.roc_at == (0, 0) and math.isnan(curves.precision_recall_at[1])


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1, 1]])
def test_curve_points_of_one_class_are_none(labels: list[int]) -> None:
    assert curve_points(SCORES, np.array(labels), threshold=0.5) is None


def test_curve_points_of_many_images_are_thinned_with_both_ends() -> None:
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 20_000)
    curves = curve_points(generator.normal(labels, 1), labels, threshold=0.5)
    assert curves is not None
    assert len(curves.roc) <= MAX_POINTS and len(curves.precision_recall) <= MAX_POINTS
    assert (curves.roc[0], curves.roc[-1]) == ((0, 0), (1, 1))
