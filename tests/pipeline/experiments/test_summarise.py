"""Every image counts once, by the model of its fold, and arms are compared on the same patients."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.experiments.cross_validate import TestedFold
from pipeline.experiments.outcome import Outcome
from pipeline.experiments.summarise import summarise

PATIENTS = {f"{patient}/{number}": f"patient {patient}" for patient in range(12) for number in range(4)}


def outcome(scores: list[float]) -> Outcome:
    return Outcome(chosen={"C": 1.0}, trials=(), scores=tuple(scores), seconds=2.0, device="CPU")


def fold(patients: list[int]) -> TestedFold:
    """One in three patients is benign; `good` is right on all images, `coin` on every other one."""
    paths = [f"{patient}/{number}" for patient in patients for number in range(4)]
    labels = [int(patient % 3 > 0) for patient in patients for _ in range(4)]
    good = [0.75 if label else 0.25 for label in labels]
    coin = [score if place % 2 else 1 - score for place, score in enumerate(good)]
    return TestedFold(tuple(paths), tuple(labels), {"good": outcome(good), "coin": outcome(coin)})


@pytest.fixture(scope="module")
def summary() -> dict:
    folds = [fold([0, 1, 2, 3, 4, 5]), fold([6, 7, 8, 9, 10, 11])]
    return summarise(folds, patients=PATIENTS, arms=["good", "coin"], against="coin")


def test_all_images_of_all_folds_count(summary: dict) -> None:
    assert (summary["images"], summary["patients"]) == (48, 12)
    assert summary["majority_share"] == pytest.approx(2 / 3)
    assert summary["arms"]["good"]["seconds"] == 4.0


def test_metrics_have_intervals(summary: dict) -> None:
    good, coin = (summary["arms"][arm]["metrics"] for arm in ("good", "coin"))
    assert good["accuracy"] == good["patient_recognition_rate"] == [1.0, 1.0, 1.0]
    assert coin["balanced_accuracy"] == [0.5, 0.5, 0.5]
    assert coin["roc_auc"][0] == pytest.approx(0.5)


def test_differences_are_paired(summary: dict) -> None:
    assert summary["arms"]["coin"]["difference"]["balanced_accuracy"] == [0.0, 0.0, 0.0]
    assert summary["arms"]["good"]["difference"]["balanced_accuracy"] == [0.5, 0.5, 0.5]


def test_each_fold_says_what_was_chosen_and_what_came_of_it(summary: dict) -> None:
    folds = summary["arms"]["good"]["folds"]
    assert [one["C"] for one in folds] == [1.0, 1.0]
    assert np.allclose([one["balanced_accuracy"] for one in folds], 1.0)
