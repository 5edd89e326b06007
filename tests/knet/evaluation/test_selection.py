"""Selection of the winner."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from knet.base.errors import UserError
from knet.evaluation.binary_metrics import BinarySample
from knet.evaluation.selection import select_model

PARAMETERS = {"mobilenet": 3, "vgg16": 14, "resnet50": 23}
PATIENTS, IMAGES = 10, 20


def sample(wrong: int, *, first: int = 0, labels: tuple[int, ...] = (0, 1)) -> BinarySample:
    """Return ten patients of 20 images, of which `wrong` are misclassified, from `first` on."""
    truth = np.repeat([labels[number % len(labels)] for number in range(PATIENTS)], IMAGES)
    place = np.tile(np.arange(IMAGES), PATIENTS)
    mistaken = (place >= first) & (place < first + wrong)
    return BinarySample(
        images=[f"{number:03}" for number in range(truth.size)],
        patients=np.repeat([f"p{number}" for number in range(PATIENTS)], IMAGES),
        labels=truth,
        scores=np.where(mistaken, 1 - truth, truth) * 0.8 + 0.1,
    )


def decision(samples: dict[str, BinarySample], **settings: Any) -> dict[str, Any]:
    settings = {"metric": "accuracy", "equivalence_margin": 0.01, **settings}
    return select_model(samples, parameters=PARAMETERS, resamples=200, **settings)


def whys(made: dict[str, Any]) -> dict[str, str]:
    return {name: candidate["why"] for name, candidate in made["candidates"].items()}


def test_select_model_highest_metric_wins_with_reasons() -> None:
    made = decision({"mobilenet": sample(6), "vgg16": sample(1), "resnet50": sample(3)})
    assert made["winner"] == "vgg16"
    assert whys(made) == {
        "mobilenet": "accuracy is 0.250 below that of vgg16 (95 % interval 0.250 to 0.250)",
        "vgg16": "highest accuracy on validation patients",
        "resnet50": "accuracy is 0.100 below that of vgg16 (95 % interval 0.100 to 0.100)",
    }
    assert [name for name, candidate in made["candidates"].items() if candidate["won"]] == ["vgg16"]


def test_select_model_decision_is_json_with_all_numbers() -> None:
    made = decision({"mobilenet": sample(6), "vgg16": sample(1)})
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    first, best = made["candidates"]["mobilenet"], made["candidates"]["vgg16"]
    assert (first["parameters"], first["value"], best["below_best"]) == (3, pytest.approx(0.7), None)
    assert first["below_best"]["value"] == pytest.approx(0.25)
    assert first["low"] <= first["value"] <= first["high"]


def test_select_model_only_the_configured_metric_decides() -> None:
    careful = sample(4)
    bold = sample(5)
    assert decision({"mobilenet": bold, "vgg16": careful}, metric="accuracy")["winner"] == "vgg16"
    assert decision({"mobilenet": bold, "vgg16": bold}, metric="roc_auc")["winner"] == "mobilenet"


def test_select_model_smaller_of_equals_wins() -> None:
    made = decision({"resnet50": sample(2), "vgg16": sample(2), "mobilenet": sample(4)}, equivalence_margin=0)
    assert made["winner"] == "vgg16"
    assert (
        whys(made)["vgg16"]
        == "highest accuracy on validation patients, and the smallest of 2 equivalent ones"
    )
    assert whys(made)["resnet50"].endswith(": equivalent, but larger than vgg16")


def test_select_model_smaller_equivalent_model_wins() -> None:
    # They misclassify different images, so neither is consistently better.
    generator = np.random.default_rng(0)
    samples = {}
    for name, right in (("mobilenet", 0.80), ("resnet50", 0.81)):
        base = sample(0)
        mistaken = generator.random(base.labels.size) > right
        samples[name] = BinarySample(
            images=base.images,
            patients=np.repeat([f"p{number}" for number in range(PATIENTS)], IMAGES),
            labels=base.labels,
            scores=np.where(mistaken, 1 - base.labels, base.labels) * 0.8 + 0.1,
        )
    best = max(samples, key=lambda name: samples[name].metrics()["accuracy"])
    assert best == "resnet50"
    assert decision(samples, equivalence_margin=0)["winner"] == "resnet50"
    made = decision(samples, equivalence_margin=0.2)
    assert made["winner"] == "mobilenet"
    assert whys(made)["mobilenet"].endswith(": equivalent, and smaller")
    assert whys(made)["resnet50"].endswith("but larger than mobilenet, which is equivalent")


def test_select_model_consistently_worse_model_is_not_equivalent() -> None:
    # One more image of every patient is misclassified: a small but consistent difference.
    made = decision({"mobilenet": sample(2), "vgg16": sample(1)}, equivalence_margin=0.1)
    assert made["winner"] == "vgg16"
    assert whys(made)["mobilenet"] == (
        "accuracy is 0.050 below that of vgg16 (95 % interval 0.050 to 0.050): "
        "within the margin, but worse in a paired bootstrap"
    )


@pytest.mark.parametrize("order", [("vgg16", "mobilenet"), ("mobilenet", "vgg16")])
def test_select_model_complete_tie_does_not_depend_on_order(order: tuple[str, ...]) -> None:
    made = select_model(
        {name: sample(1) for name in order},
        parameters={"mobilenet": 1, "vgg16": 1},
        metric="accuracy",
        equivalence_margin=0,
        resamples=20,
    )
    assert made["winner"] == "mobilenet"


def test_select_model_single_candidate_wins() -> None:
    assert decision({"resnet50": sample(20)})["winner"] == "resnet50"


def test_select_model_undefined_metric_is_an_error() -> None:
    one_class = {"vgg16": sample(1, labels=(1,)), "resnet50": sample(2, labels=(1,))}
    with pytest.raises(UserError, match="roc_auc on validation is undefined for vgg16, resnet50: .*classes"):
        decision(one_class, metric="roc_auc")


def test_select_model_forced_winner_wins_whatever_the_metric() -> None:
    made = decision({"mobilenet": sample(6), "vgg16": sample(1)}, force_winner="mobilenet")
    assert (made["winner"], made["force_winner"]) == ("mobilenet", "mobilenet")
    assert whys(made) == {
        "mobilenet": "selection.force_winner, while vgg16 is the best by accuracy on validation patients",
        "vgg16": "selection.force_winner chose mobilenet",
    }


def test_select_model_forced_winner_may_be_best_or_undefined() -> None:
    made = decision({"mobilenet": sample(6), "vgg16": sample(1)}, force_winner="vgg16")
    assert (
        whys(made)["vgg16"]
        == "selection.force_winner, which is also the best by accuracy on validation patients"
    )
    undefined = decision({"vgg16": sample(1, labels=(1,))}, metric="roc_auc", force_winner="vgg16")
    assert undefined["candidates"]["vgg16"]["value"] is None
    assert math.isnan(sample(1, labels=(1,)).metrics()["roc_auc"])


def test_select_model_without_candidates_is_an_error() -> None:
    with pytest.raises(UserError, match="no candidate is left to select: each one failed"):
        decision({})


def test_select_model_refuses_a_forced_winner_that_failed() -> None:
    with pytest.raises(
        UserError, match="selection.force_winner is vgg16, which failed; .* null or .*mobilenet"
    ):
        decision({"mobilenet": sample(1)}, force_winner="vgg16")
