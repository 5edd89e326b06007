"""The bootstrap over patients, stratified by class, and its paired form."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.evaluation.binary_metrics import METRICS, BinarySample
from knet.evaluation.bootstrap import Estimate, estimate_difference, estimate_metrics, resample_patients


def cohort(
    *, patients: int = 12, images: int = 6, labels: tuple[int, ...] = (0, 1), perfect: float = 0.0
) -> BinarySample:
    """Return patients of alternating classes, some of them harder; a share `perfect` of images is certain."""
    generator = np.random.default_rng(0)
    of_patient = [labels[number % len(labels)] for number in range(patients)]
    hard = generator.normal(0, 0.4, patients)
    owner = np.repeat(np.arange(patients), images)
    truth = np.array(of_patient)[owner]
    scores = np.clip(0.25 + 0.5 * truth + hard[owner] + generator.normal(0, 0.1, owner.size), 0, 1)
    scores = np.where(generator.random(owner.size) < perfect, truth, scores)
    return BinarySample(
        images=[f"{number:05}" for number in range(owner.size)],
        patients=[f"p{number:03}" for number in owner],
        labels=truth,
        scores=scores,
    )


@given(st.lists(st.booleans(), max_size=9), st.integers(0, 2**31 - 1))
def test_resample_patients_keeps_the_number_in_each_class(positive: list[bool], seed: int) -> None:
    flags = np.array(positive, dtype=bool)
    drawn = resample_patients(flags, resamples=20, seed=seed)
    assert drawn.shape == (20, len(positive)) and (drawn >= 0).all()
    assert (drawn[:, flags].sum(axis=1) == flags.sum()).all()
    assert (drawn[:, ~flags].sum(axis=1) == (~flags).sum()).all()


def test_resample_patients_depends_on_the_seed_alone() -> None:
    flags = np.array([True, False, True, False, True])
    first, again, other = (resample_patients(flags, resamples=50, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_estimate_metrics_intervals_contain_the_values() -> None:
    sample = cohort()
    estimates = estimate_metrics(sample)
    assert tuple(estimates) == METRICS
    for name, estimate in estimates.items():
        assert estimate.value == sample.metrics()[name]
        assert 0 <= estimate.low <= estimate.high <= 1
    rate = estimates["patient_recognition_rate"]
    assert rate.low < rate.value < rate.high


def test_estimate_metrics_interval_equals_normal_approximation() -> None:
    # Of 40 patients, one image each, 30 are correct: the standard error is sqrt(p (1 - p) / n) in each class.
    right = np.array([True, True, True, False] * 10)
    truth = np.repeat([0, 1], 20)
    sample = BinarySample(
        images=[f"{n:02}" for n in range(40)],
        patients=[f"p{n:02}" for n in range(40)],
        labels=truth,
        scores=np.where(right, truth, 1 - truth).astype(float),
    )
    estimate = estimate_metrics(sample, resamples=20_000)["patient_recognition_rate"]
    half = 1.96 * math.sqrt(0.75 * 0.25 / 40)
    assert estimate.value == 0.75
    assert (estimate.low, estimate.high) == pytest.approx((0.75 - half, 0.75 + half), abs=0.02)


def test_estimate_metrics_more_images_per_patient_keep_the_interval() -> None:
    few, many = (estimate_metrics(cohort(images=n))["patient_recognition_rate"] for n in (4, 64))
    assert many.high - many.low > 0.5 * (few.high - few.low)


def test_estimate_metrics_over_one_class() -> None:
    estimates = estimate_metrics(cohort(labels=(1,)))
    for name in ("roc_auc", "pr_auc", "balanced_accuracy", "specificity"):
        assert all(math.isnan(v) for v in vars(estimates[name]).values())
    assert estimates["accuracy"].low <= estimates["accuracy"].value


def test_estimate_metrics_one_image_per_class_is_a_point() -> None:
    sample = BinarySample(images=["a", "b"], patients=["a", "b"], labels=[0, 1], scores=[0.2, 0.8])
    assert estimate_metrics(sample)["accuracy"] == Estimate(1, 1, 1)


def test_estimate_metrics_without_images_is_undefined() -> None:
    sample = BinarySample(images=[], patients=[], labels=[], scores=[])
    assert all(math.isnan(e.value) and math.isnan(e.low) for e in estimate_metrics(sample).values())


def test_estimate_difference_from_itself_is_zero() -> None:
    sample = cohort()
    assert estimate_difference(sample, sample, metric="roc_auc") == Estimate(0, 0, 0)


def test_estimate_difference_is_narrower_than_unpaired_intervals() -> None:
    worse, better = cohort(), cohort(perfect=0.2)
    difference = estimate_difference(better, worse, metric="patient_recognition_rate")
    alone = estimate_metrics(worse)["patient_recognition_rate"]
    assert difference.low >= 0 < difference.value
    assert difference.high - difference.low < alone.high - alone.low
    turned = estimate_difference(worse, better, metric="patient_recognition_rate")
    assert (turned.value, turned.low, turned.high) == pytest.approx(
        (-difference.value, -difference.high, -difference.low)
    )


def test_estimate_difference_of_other_images_is_an_error() -> None:
    with pytest.raises(ValueError, match="same images"):
        estimate_difference(cohort(images=5), cohort(images=6), metric="accuracy")


def test_estimate_metrics_of_breakhis_takes_seconds() -> None:
    sample = cohort(patients=70, images=113)
    start = time.process_time()
    estimate_metrics(sample)
    assert time.process_time() - start < 20
