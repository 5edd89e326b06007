"""A candidate's settings hold what bears on its training, and nothing else."""

from __future__ import annotations

import pytest

from pipeline.candidate import Candidate
from pipeline.config import load_config


def settings(*overrides: str) -> str:
    config = load_config("demo", overrides)
    return Candidate.of(config, "vgg16", synthetic_data=False).model_dump_json()


@pytest.mark.parametrize(
    "override",
    [
        "training.epochs=9",
        "head.lstm_units=8",
        "image.size=96",
        "seed=3",
        "candidates.vgg16.weights=imagenet",
    ],
)
def test_what_bears_on_training_changes_them(override: str) -> None:
    assert settings(override) != settings()


@pytest.mark.parametrize(
    "override",
    ["gate.minimum.f1=0.5", "kubeflow.image=other", "training.learning_rate=0.5", "training.momentum=0.1"],
)
def test_what_does_not_bear_on_training_leaves_them(override: str) -> None:
    assert settings(override) == settings()


def test_untuned_training_uses_the_configured_values() -> None:
    assert settings("tuning=null", "training.learning_rate=0.5") != settings("tuning=null")


def test_sequence_length_is_that_of_the_longest_grid() -> None:
    config = load_config("demo", ["image.size=227"])
    lengths = {Candidate.of(config, name, synthetic_data=False).sequence_length for name in config.candidates}
    assert lengths == {64}
