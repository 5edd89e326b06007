"""TFMA's figures and those of the predictions must agree."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest

from components.model_selector.check_agreement import check_agreement
from pipeline.evaluation.results import candidate_results


@pytest.fixture
def results(make_predictions: Callable[..., Any]) -> dict[str, Any]:
    frame = make_predictions(right=0.7)
    frame = frame[(frame["split"] == "validation") | (frame["magnification"] != "200X")]
    return candidate_results(
        frame, classes=("benign", "malignant"), slices=("magnification",), resamples=10, seed=0
    )


@pytest.fixture
def tfma(results: dict[str, Any]) -> dict[Any, dict[str, float]]:
    """What TFMA says of the same: nothing of an absent slice."""
    return {
        frozenset({("split", split), *part["slice"].items()}): {
            "images": float(sum(part["images"].values())),
            **{name: estimate["value"] for name, estimate in part["metrics"].items()},
        }
        for split, parts in results["splits"].items()
        for part in parts
        if sum(part["images"].values())
    }


def test_the_same_figures_agree(results: dict[str, Any], tfma: dict[Any, dict[str, float]]) -> None:
    check_agreement(results, tfma, candidate="vgg16")


@pytest.mark.parametrize(
    ("name", "value"), [("images", 5.0), ("accuracy", 0.123), ("patient_recognition_rate", math.nan)]
)
def test_a_difference_in_a_slice_is_an_error_that_names_it(
    results: dict[str, Any], tfma: dict[Any, dict[str, float]], name: str, value: float
) -> None:
    changed = copy.deepcopy(tfma)
    changed[frozenset({("split", "test"), ("magnification", "40X")})][name] = value
    with pytest.raises(ValueError, match=rf"vgg16, .*: TFMA's {name} is {value}"):
        check_agreement(results, changed, candidate="vgg16")


def test_a_slice_that_only_the_predictions_have_is_an_error(
    results: dict[str, Any], tfma: dict[Any, dict[str, float]]
) -> None:
    del tfma[frozenset({("split", "validation"), ("magnification", "200X")})]
    with pytest.raises(ValueError, match="TFMA's images is 0"):
        check_agreement(results, tfma, candidate="vgg16")
