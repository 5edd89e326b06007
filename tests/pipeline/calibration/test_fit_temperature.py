"""The temperature minimises the log loss, is bounded, and never makes anything worse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, special

from pipeline.calibration.calibrate import calibrated_scores
from pipeline.calibration.fit_temperature import BOUNDS, fit_temperature

# Differences of the logits, and labels.
SAMPLES = st.lists(st.tuples(st.floats(-40, 40, width=32), st.integers(0, 1)), max_size=30)


def arrays(sample: list[tuple[float, int]]) -> tuple[np.ndarray, np.ndarray]:
    margins = np.array([margin for margin, _ in sample], np.float32)
    return np.stack([-margins / 2, margins / 2], axis=1), np.array([label for _, label in sample], int)


def log_loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(-special.log_softmax(logits / temperature, axis=1)[np.arange(len(labels)), labels].mean())


@pytest.mark.parametrize("true", [0.4, 1.0, 2.5])
def test_it_finds_the_temperature_that_labels_were_drawn_with(true: float) -> None:
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


@given(SAMPLES)
def test_the_loss_is_never_more_than_without_it(sample: list[tuple[float, int]]) -> None:
    logits, labels = arrays(sample)
    found = fit_temperature(logits, labels)
    assert BOUNDS[0] * (1 - 1e-9) <= found <= BOUNDS[1] * (1 + 1e-9)
    if len(labels):
        assert log_loss(logits, labels, found) <= log_loss(logits, labels, 1.0) + 1e-12


@given(SAMPLES)
def test_the_order_of_images_stays(sample: list[tuple[float, int]]) -> None:
    logits, labels = arrays(sample)
    scores = calibrated_scores(logits, temperature=fit_temperature(logits, labels))
    by_margin = np.argsort(logits[:, 1] - logits[:, 0], kind="stable")
    assert (np.diff(scores[by_margin]) >= 0).all()


def test_what_is_told_apart_wholly_has_the_lowest_temperature() -> None:
    assert fit_temperature(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([0, 1])) == BOUNDS[0]


def test_what_is_told_apart_the_wrong_way_round_has_the_highest() -> None:
    assert fit_temperature(np.array([[1.0, -1.0], [-1.0, 1.0]]), np.array([1, 0])) == BOUNDS[1]


@pytest.mark.parametrize("labels", [[], [0, 0, 0], [1]])
def test_one_class_says_nothing(labels: list[int]) -> None:
    logits = np.random.default_rng(0).normal(size=(len(labels), 2))
    assert fit_temperature(logits, np.array(labels, int)) == 1
