"""The threshold does what its rule promises, on the images that it was chosen by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.calibration.choose_threshold import choose_threshold

SAMPLES = st.tuples(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=15),
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=15),
)
Sample = tuple[list[float], list[float]]


def choose(negatives: list[float], positives: list[float], **rule: Any) -> float:
    scores = np.array([*negatives, *positives], np.float32)
    labels = np.array([0] * len(negatives) + [1] * len(positives), int)
    return choose_threshold(scores, labels, **{"rule": "youden", "target_sensitivity": 0.95, **rule})


def rates(negatives: list[float], positives: list[float], threshold: float) -> tuple[float, float]:
    """Sensitivity and specificity."""
    limit = np.float32(threshold)
    return (
        float(np.mean(np.array(positives, np.float32) >= limit)),
        float(np.mean(np.array(negatives, np.float32) < limit)),
    )


@given(SAMPLES)
def test_youden_finds_the_best_of_all_thresholds(sample: Sample) -> None:
    best = sum(rates(*sample, choose(*sample)))
    others = [2.0, *sample[0], *sample[1]]
    assert best == pytest.approx(max(sum(rates(*sample, other)) for other in others))


@given(SAMPLES, st.floats(0.01, 1))
def test_the_target_sensitivity_is_reached_by_the_highest_threshold(sample: Sample, target: float) -> None:
    threshold = choose(*sample, rule="sensitivity", target_sensitivity=target)
    assert rates(*sample, threshold)[0] >= target
    called = [score for score in (*sample[0], *sample[1]) if score >= np.float32(threshold)]
    for higher in called:  # as a threshold that spares the image
        assert rates(*sample, float(np.nextafter(np.float32(higher), np.float32(2))))[0] < target


def test_it_lies_half_way_between_two_scores() -> None:
    assert choose([0.125, 0.25], [0.75, 0.875]) == 0.5
    assert choose([0.5], [0.5, 0.75], rule="sensitivity", target_sensitivity=1.0) == 0.25


def test_neighbouring_scores_are_told_apart() -> None:
    low = float(np.float32(0.7))
    high = float(np.nextafter(np.float32(low), np.float32(1)))
    assert rates([low], [high], choose([low], [high])) == (1, 1)


def test_of_several_the_most_sensitive_is_taken() -> None:
    # Sensitivity 1 and specificity 1/2, or 1/2 and 1.
    assert rates([0.1, 0.3], [0.2, 0.4], choose([0.1, 0.3], [0.2, 0.4])) == (1, 0.5)


def test_a_positive_image_with_the_score_zero_is_found_where_the_target_wants_it() -> None:
    threshold = choose([0.5], [0.0], rule="sensitivity", target_sensitivity=1.0)
    assert rates([0.5], [0.0], threshold)[0] == 1


def test_a_number_is_taken_as_it_is() -> None:
    assert choose([0.1], [0.2], rule=0.7) == 0.7


@pytest.mark.parametrize("sample", [([], []), ([0.2], []), ([], [0.9])])
@pytest.mark.parametrize("rule", ["youden", "sensitivity"])
def test_without_images_of_both_classes_it_is_a_half(sample: Sample, rule: str) -> None:
    assert choose(*sample, rule=rule) == 0.5
