"""Temperature and threshold together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from knet.models.calibration import (
    BOUNDS,
    calibrate,
    calibrated_probabilities,
    choose_threshold,
    fit_temperature,
    group_scores,
)
from knet.models.settings import CalibrationConfig


@pytest.fixture(scope="module")
def sample() -> tuple[np.ndarray, np.ndarray]:
    """Logits three times as large as they should be."""
    rng = np.random.default_rng(0)
    margins = rng.normal(0, 2, 500)
    labels = (rng.random(500) < special.expit(margins)).astype(int)
    return np.stack([-1.5 * margins, 1.5 * margins], axis=1).astype("float32"), labels


def test_calibrate_makes_an_overconfident_model_reliable(sample: tuple[np.ndarray, np.ndarray]) -> None:
    found = calibrate(*sample, settings=CalibrationConfig())
    assert found.temperature == pytest.approx(3, rel=0.25)
    assert found.after.log_loss < found.before.log_loss
    assert found.after.calibration_error < found.before.calibration_error / 2


def test_calibrate_counts_confusion_at_the_threshold(sample: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = sample
    found = calibrate(logits, labels, settings=CalibrationConfig(threshold="sensitivity"))
    assert found.threshold is not None
    called = calibrated_probabilities(logits, temperature=found.temperature)[:, 1] >= found.threshold
    (true_negative, false_positive), (false_negative, true_positive) = found.confusion
    assert true_positive == np.sum(called & (labels == 1)) and false_positive == np.sum(
        called & (labels == 0)
    )
    assert true_positive + false_negative == np.sum(labels) and true_negative + false_positive == np.sum(
        1 - labels
    )
    assert true_positive / (true_positive + false_negative) >= 0.95


def test_calibrate_without_temperature_or_with_fixed_threshold(sample: tuple[np.ndarray, np.ndarray]) -> None:
    found = calibrate(*sample, settings=CalibrationConfig(temperature=False, threshold=0.5))
    assert (found.temperature, found.threshold) == (1, 0.5)
    assert found.before == found.after


def test_calibrate_with_one_class_changes_nothing() -> None:
    found = calibrate(np.array([[0.0, 3.0]] * 4), np.ones(4, int), settings=CalibrationConfig())
    assert (found.temperature, found.threshold) == (1, 0.5)
    assert found.confusion == ((0, 0), (0, 4))


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
def test_choose_threshold_youden_maximizes_j(sample: Sample) -> None:
    best = sum(rates(*sample, choose(*sample)))
    others = [2.0, *sample[0], *sample[1]]
    assert best == pytest.approx(max(sum(rates(*sample, other)) for other in others))


@given(SAMPLES, st.floats(0.01, 1))
def test_choose_threshold_sensitivity_is_the_highest_that_reaches_it(sample: Sample, target: float) -> None:
    threshold = choose(*sample, rule="sensitivity", target_sensitivity=target)
    assert rates(*sample, threshold)[0] >= target
    called = [score for score in (*sample[0], *sample[1]) if score >= np.float32(threshold)]
    for higher in called:  # as a threshold that spares the image
        assert rates(*sample, float(np.nextafter(np.float32(higher), np.float32(2))))[0] < target


def test_choose_threshold_is_midway_between_scores() -> None:
    assert choose([0.125, 0.25], [0.75, 0.875]) == 0.5
    assert choose([0.5], [0.5, 0.75], rule="sensitivity", target_sensitivity=1.0) == 0.25


def test_choose_threshold_separates_adjacent_floats() -> None:
    low = float(np.float32(0.7))
    high = float(np.nextafter(np.float32(low), np.float32(1)))
    assert rates([low], [high], choose([low], [high])) == (1, 1)


def test_choose_threshold_breaks_ties_by_sensitivity() -> None:
    # Sensitivity 1 and specificity 1/2, or 1/2 and 1.
    assert rates([0.1, 0.3], [0.2, 0.4], choose([0.1, 0.3], [0.2, 0.4])) == (1, 0.5)


def test_choose_threshold_reaches_a_positive_with_score_zero() -> None:
    threshold = choose([0.5], [0.0], rule="sensitivity", target_sensitivity=1.0)
    assert rates([0.5], [0.0], threshold)[0] == 1


def test_choose_threshold_returns_a_number_unchanged() -> None:
    assert choose([0.1], [0.2], rule=0.7) == 0.7


@pytest.mark.parametrize("sample", [([], []), ([0.2], []), ([], [0.9])])
@pytest.mark.parametrize("rule", ["youden", "sensitivity"])
def test_choose_threshold_with_one_class_is_a_half(sample: Sample, rule: str) -> None:
    assert choose(*sample, rule=rule) == 0.5


# Differences of the logits, and labels.
TEMPERATURE_SAMPLES = st.lists(st.tuples(st.floats(-40, 40, width=32), st.integers(0, 1)), max_size=30)


def arrays(sample: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    margins = np.array([margin for margin, _ in sample], np.float32)
    return np.stack([-margins / 2, margins / 2], axis=1), np.array([label for _, label in sample], int)


def log_loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(-special.log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_fit_temperature_recovers_the_true_temperature(true: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (20_000, 2))
    labels = (rng.random(20_000) < special.expit((logits[:, 1] - logits[:, 0]) / true)).astype(int)
    found = fit_temperature(logits, labels)
    assert found == pytest.approx(true, rel=0.05)
    # A plain minimisation of another form of the same.
    reference = optimize.minimize(
        lambda t: log_loss(logits, labels, t[0]), [1.0], method="Nelder-Mead", options={"xatol": 1e-7}
    )
    assert found == pytest.approx(reference.x[0], rel=1e-4)


@given(TEMPERATURE_SAMPLES)
def test_fit_temperature_never_raises_the_loss(sample: list[tuple[float, int]]) -> None:
    logits, labels = arrays(sample)
    found = fit_temperature(logits, labels)
    assert BOUNDS[0] * (1 - 1e-9) <= found <= BOUNDS[1] * (1 + 1e-9)
    if len(labels):
        assert log_loss(logits, labels, found) <= log_loss(logits, labels, 1.0) + 1e-12


@given(TEMPERATURE_SAMPLES)
def test_calibrated_probabilities_keep_the_order_of_images(sample: list[tuple[float, int]]) -> None:
    logits, labels = arrays(sample)
    scores = calibrated_probabilities(logits, temperature=fit_temperature(logits, labels))[:, 1]
    by_margin = np.argsort(logits[:, 1] - logits[:, 0], kind="stable")
    assert (np.diff(scores[by_margin]) >= 0).all()


def test_fit_temperature_of_separated_classes_is_the_lower_bound() -> None:
    assert fit_temperature(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0, 1])) == BOUNDS[0]


def test_fit_temperature_of_inverted_classes_is_the_upper_bound() -> None:
    assert fit_temperature(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([1, 0])) == BOUNDS[1]


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [1]])
def test_fit_temperature_with_one_class_is_1(labels: list[int]) -> None:
    logits = np.random.default_rng(0).normal(size=(len(labels), 2))
    assert fit_temperature(logits, np.array(labels, int)) == 1


@pytest.mark.parametrize("rule", ["youden", "sensitivity", 0.3])
def test_calibration_of_two_classes_is_the_recorded_one(
    sample: tuple[np.ndarray, np.ndarray], two_classes: Any, rule: Any
) -> None:
    found = calibrate(*sample, settings=CalibrationConfig(threshold=rule))
    expected = two_classes["calibration"][str(rule)]
    assert [list(row) for row in found.confusion] == expected["confusion"]
    # The temperature is found to within a tolerance, so the rest is too.
    assert found.temperature == pytest.approx(expected["temperature"], rel=1e-5)
    assert found.threshold == pytest.approx(expected["threshold"], rel=1e-5)
    for name in ("before", "after"):
        summary = {key: getattr(getattr(found, name), key) for key in expected[name]}
        assert summary == pytest.approx(expected[name], rel=1e-5), name


@pytest.fixture(scope="module")
def sample_of_four() -> tuple[np.ndarray, np.ndarray]:
    """Logits of four classes, three times as large as they should be."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 1.5, (2000, 4))
    labels = np.array([rng.choice(4, p=special.softmax(row)) for row in logits])
    return (3 * logits).astype("float32"), labels


def test_calibrate_makes_four_classes_reliable(sample_of_four: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = sample_of_four
    found = calibrate(logits, labels, settings=CalibrationConfig())
    assert found.temperature == pytest.approx(3, rel=0.1) and found.threshold is None
    assert found.after.log_loss < found.before.log_loss
    assert found.after.calibration_error < found.before.calibration_error / 2
    confusion = np.array(found.confusion)
    assert confusion.shape == (4, 4) and confusion.sum() == len(labels)
    assert np.trace(confusion) == (logits.argmax(axis=1) == labels).sum()
    assert confusion.sum(axis=1).tolist() == np.bincount(labels).tolist()


def test_fit_temperature_of_four_classes_equals_a_search_on_a_grid(
    sample_of_four: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = sample_of_four
    grid = np.linspace(2, 4, 2001)
    rows = np.arange(len(labels))
    losses = [-special.log_softmax(logits / t, axis=1)[rows, labels].mean() for t in grid]
    assert fit_temperature(logits, labels) == pytest.approx(grid[np.argmin(losses)], abs=2e-3)


def test_calibrate_chooses_the_threshold_of_a_positive_group(
    sample_of_four: tuple[np.ndarray, np.ndarray],
) -> None:
    logits, labels = sample_of_four
    settings = CalibrationConfig(threshold="sensitivity", target_sensitivity=0.9)
    found = calibrate(logits, labels, settings=settings, positive=(1, 3))
    probabilities = calibrated_probabilities(logits, temperature=found.temperature)
    called = probabilities[:, [1, 3]].sum(axis=1) >= found.threshold
    assert called[np.isin(labels, (1, 3))].mean() == pytest.approx(0.9, abs=2e-3)
    assert found.confusion == calibrate(logits, labels, settings=settings).confusion


def test_group_scores_are_probabilities() -> None:
    probabilities = special.softmax(np.random.default_rng(0).normal(size=(500, 9)).astype("float32"), axis=1)
    assert group_scores(probabilities, range(9)).max() == 1
    np.testing.assert_array_equal(group_scores(probabilities, (4,)), probabilities[:, 4])
