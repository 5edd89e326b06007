"""Checks that TFMA and the table of predictions tell the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from pipeline import features
from pipeline.evaluation.read_metrics import IMAGES, SliceKey

_COMPARED: Final = ("accuracy", "patient_recognition_rate")
_TOLERANCE = 1e-6


def check_agreement(
    results: Mapping[str, Any], tfma: Mapping[SliceKey, Mapping[str, float]], *, candidate: str
) -> None:
    """Compares counts, accuracy and patient recognition rate of every slice.

    Both come from one pass of the model, by different ways: rows that were lost on one of them are noticed.

    Args:
        results: of `candidate_results`.
        tfma: of `read_metrics`.
        candidate: whose they are.

    Raises:
        ValueError: they differ; the text names candidate, slice and both values.
    """
    for split, parts in results["splits"].items():
        for part in parts:
            key = frozenset({(features.SPLIT, split), *part["slice"].items()})
            found = tfma.get(key, {IMAGES: 0.0})
            expected = {
                IMAGES: sum(part["images"].values()),
                **{name: part["metrics"][name]["value"] for name in _COMPARED},
            }
            for name, value in expected.items():
                if not _same(found.get(name), value):
                    raise ValueError(
                        f"{candidate}, {dict(key)}: TFMA's {name} is {found.get(name)}, that of the "
                        f"predictions {value}"
                    )


def _same(one: float | None, other: float | None) -> bool:
    if one is None or math.isnan(one) or other is None:
        return other is None and (one is None or math.isnan(one))
    return abs(one - other) < _TOLERANCE
