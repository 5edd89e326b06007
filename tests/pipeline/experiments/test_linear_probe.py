"""The probe is fitted to training images, and validation images choose how strongly it is held back."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.experiments.linear_probe import Labelled, linear_probe


def drawn(count: int, *, seed: int, apart: float) -> Labelled:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return rng.normal(apart * labels[:, None], 1, (count, 8)), labels


def test_classes_that_lie_apart_are_told_apart() -> None:
    vectors, labels = drawn(40, seed=2, apart=3)
    outcome = linear_probe(
        train=drawn(60, seed=0, apart=3), validation=drawn(20, seed=1, apart=3), test=vectors
    )
    assert ((np.array(outcome.scores) > 0.5) == labels).all()


@pytest.mark.parametrize("apart", [0.0, 0.5, 3.0])
def test_the_lowest_loss_on_validation_chooses(apart: float) -> None:
    train, validation = drawn(60, seed=0, apart=apart), drawn(20, seed=1, apart=apart)
    outcome = linear_probe(train=train, validation=validation, test=validation[0], c_grid=(1e-4, 1e-2, 1e2))
    assert [trial["C"] for trial in outcome.trials] == [1e-4, 1e-2, 1e2]
    best = min(outcome.trials, key=lambda trial: trial["val_loss"])
    assert outcome.chosen == {"C": best["C"]}
    scores = np.array(outcome.scores)
    right = np.where(validation[1] == 1, scores, 1 - scores)
    assert best["val_loss"] == pytest.approx(-np.log(right).mean())


def test_noise_is_held_back_and_a_clear_difference_is_not() -> None:
    chosen = {
        apart: linear_probe(
            train=drawn(60, seed=0, apart=apart),
            validation=drawn(200, seed=1, apart=apart),
            test=np.zeros((1, 8)),
        ).chosen["C"]
        for apart in (0.0, 3.0)
    }
    assert chosen[0.0] < chosen[3.0]


def test_the_test_images_do_not_matter_to_one_another() -> None:
    train, validation = drawn(60, seed=0, apart=1), drawn(20, seed=1, apart=1)
    vectors, _ = drawn(10, seed=2, apart=1)
    whole = linear_probe(train=train, validation=validation, test=vectors).scores
    alone = linear_probe(train=train, validation=validation, test=vectors[3:4]).scores
    assert alone == pytest.approx(whole[3:4])
