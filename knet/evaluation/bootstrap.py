"""Intervals by a bootstrap over patients, stratified by class (Efron and Tibshirani, 1993)."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from knet.evaluation.patient_metrics import PatientSample

RESAMPLES: Final = 2000
_PERCENTILES = 2.5, 97.5


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; NaN where undefined.

    The interval is of the resamples in which the value is defined.
    """

    value: float
    low: float
    high: float


def resample_patients(positive: NDArray[Any], *, resamples: int, seed: int) -> NDArray[Any]:
    """How often each patient was drawn, int64 [resamples, patients].

    Of each class as many are drawn, with replacement, as there are.

    Args:
        positive: whether each patient is of the positive class, bool [patients].
        resamples: how many.
        seed: of the draw.
    """
    generator = np.random.default_rng(seed)
    drawn = np.zeros((resamples, len(positive)), dtype=np.int64)
    for label in (False, True):
        members = np.flatnonzero(positive == label)
        if members.size:
            even = np.full(members.size, 1 / members.size)
            drawn[:, members] = generator.multinomial(members.size, even, size=resamples)
    return drawn


def estimate_metrics(
    sample: PatientSample, *, resamples: int = RESAMPLES, seed: int = 0
) -> dict[str, Estimate]:
    """Each metric with its interval.

    Images of one patient are alike, so it is patients that are drawn. Where a class has one patient, the
    interval cannot show how much its patients differ.

    Args:
        sample: what is judged.
        resamples: how many are drawn.
        seed: of the draw.
    """
    drawn = sample.weighted_metrics(resample_patients(sample.positive, resamples=resamples, seed=seed))
    return {name: _estimate(value, drawn[name]) for name, value in sample.metrics().items()}


def estimate_difference(
    first: PatientSample, second: PatientSample, *, metric: str, resamples: int = RESAMPLES, seed: int = 0
) -> Estimate:
    """By how much the first candidate's metric is larger, on the same images: a paired bootstrap.

    In every resample both are judged on the same patients.

    Args:
        first: one candidate's.
        second: the other's.
        metric: one of `METRICS`.
        resamples: how many are drawn.
        seed: of the draw.

    Raises:
        ValueError: the two are not of the same images.
    """
    for name in ("images", "labels", "patients"):
        if not np.array_equal(getattr(first, name), getattr(second, name)):
            raise ValueError(f"two candidates can be paired on the same images only: their {name} differ")
    weights = resample_patients(first.positive, resamples=resamples, seed=seed)
    drawn = first.weighted_metrics(weights)[metric] - second.weighted_metrics(weights)[metric]
    return _estimate(first.metrics()[metric] - second.metrics()[metric], drawn)


def _estimate(value: float, drawn: NDArray[Any]) -> Estimate:
    if np.isnan(value):
        return Estimate(value, np.nan, np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of no resample in which it is defined
        low, high = np.nanpercentile(drawn, _PERCENTILES)
    return Estimate(value, float(low), float(high))
