"""Confidence intervals by a bootstrap over patients, stratified by class (Efron and Tibshirani, 1993)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from knet.evaluation.sample import Sample

RESAMPLES: Final = 2000
_PERCENTILES: Final = (2.5, 97.5)
CONFIDENCE: Final = (_PERCENTILES[1] - _PERCENTILES[0]) / 100


@dataclass(frozen=True)
class Estimate:
    """A metric with its 95 % confidence interval; NaN where undefined.

    The interval covers the resamples in which the metric is defined.
    """

    value: float
    low: float
    high: float


def resample_patients(strata: NDArray[Any], *, resamples: int, seed: int) -> NDArray[Any]:
    """Return how many times each patient was drawn, int64 [resamples, patients].

    Patients are drawn with replacement, of each class as many as the sample has.

    Args:
        strata: class of each patient, bool or int [patients].
        resamples: number of resamples.
        seed: random seed.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros((resamples, len(strata)), dtype=np.int64)
    for label in np.unique(strata):
        members = np.flatnonzero(strata == label)
        uniform = np.full(members.size, 1 / members.size)
        drawn[:, members] = generator.multinomial(members.size, uniform, size=resamples)
    return drawn


def estimate_metrics(sample: Sample, *, resamples: int = RESAMPLES, seed: int = 0) -> dict[str, Estimate]:
    """Return each metric of the sample with its interval.

    Patients are drawn, not images, because images of one patient are correlated. If a class has one patient,
    the interval does not cover the variation between patients of that class.

    Args:
        sample: the predictions.
        resamples: number of resamples.
        seed: random seed.
    """
    drawn = sample.weighted_metrics(resample_patients(sample.strata, resamples=resamples, seed=seed))
    return {name: estimate_from_draws(value, drawn[name]) for name, value in sample.metrics().items()}


def estimate_difference(
    first: Sample, second: Sample, *, metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """Return the difference in a metric, first minus second, by a paired bootstrap.

    In every resample both candidates are evaluated on the same patients.

    Args:
        first: predictions of one candidate.
        second: predictions of another for the same images.
        metric: name of one of their metrics.
        resamples: number of resamples.
        seed: random seed.

    Raises:
        ValueError: the images, labels or patients differ.
    """
    for name in ("images", "labels", "patients"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise ValueError(f"a paired bootstrap needs predictions of the same images: {name} differ")
    weights = resample_patients(first.strata, resamples=resamples, seed=seed)
    drawn = first.weighted_metrics(weights)[metric] - second.weighted_metrics(weights)[metric]
    return estimate_from_draws(first.metrics()[metric] - second.metrics()[metric], drawn)


def estimate_from_draws(value: float, drawn: NDArray[Any]) -> Estimate:
    """Return a metric with the interval of its resamples.

    Args:
        value: the metric of all patients.
        drawn: the metric in each resample, [resamples]; NaN where undefined.
    """
    if np.isnan(value):
        return Estimate(value, np.nan, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # defined in no resample
        low, high = np.nanpercentile(drawn, _PERCENTILES)
    return Estimate(value, float(low), float(high))
