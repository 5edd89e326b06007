"""How the winner is chosen."""

from __future__ import annotations

import math

import pytest

from components.model_selector.selection import select
from pipeline.errors import UserError

PARAMETERS = {"mobilenet": 3, "vgg16": 14, "resnet50": 23}


def choose(metric: str = "accuracy", **accuracies: float) -> str:
    metrics = {name: {"accuracy": value, "roc_auc": 1 - value} for name, value in accuracies.items()}
    return select(metrics, metric=metric, parameters=PARAMETERS)


def test_the_highest_metric_wins() -> None:
    assert choose(mobilenet=0.7, vgg16=0.9, resnet50=0.8) == "vgg16"


def test_only_the_metric_asked_for_decides() -> None:
    assert choose("roc_auc", mobilenet=0.7, vgg16=0.9, resnet50=0.8) == "mobilenet"


def test_of_equals_the_smaller_model_wins() -> None:
    assert choose(resnet50=0.9, vgg16=0.9, mobilenet=0.8) == "vgg16"


@pytest.mark.parametrize("order", [("b", "a"), ("a", "b")])
def test_a_complete_tie_does_not_depend_on_the_order(order: tuple[str, ...]) -> None:
    validation = {name: {"accuracy": 0.5} for name in order}
    assert select(validation, metric="accuracy", parameters={"a": 1, "b": 1}) == "a"


def test_a_candidate_alone_wins() -> None:
    assert choose(resnet50=0.0) == "resnet50"


def test_an_undefined_metric_is_refused_and_its_candidates_are_named() -> None:
    with pytest.raises(UserError, match="accuracy on validation is undefined for vgg16, resnet50: .*classes"):
        choose(mobilenet=0.9, vgg16=math.nan, resnet50=math.nan)
