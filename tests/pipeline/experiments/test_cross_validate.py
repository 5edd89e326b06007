"""Every arm is trained on every fold, test images choose nothing, and what is there is not trained again."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from pipeline.config import Config
from pipeline.dataset import TransformedSplit
from pipeline.experiments import cross_validate as module
from pipeline.experiments.arms import PROBE, Arm
from pipeline.experiments.cross_validate import TestedFold, cross_validate
from pipeline.experiments.fold_splits import FoldSplits

COUNT = 12
ARMS = (Arm("head", "the head", learning_rates=(1e-9, 0.05)), PROBE)


@pytest.fixture
def run(
    write_transformed: Callable[..., str], body_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[TestedFold]]:
    """Cross-validates on two folds of images in which malignant is darker; the graph is left out."""
    labels = [index % 2 for index in range(3 * COUNT)]
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, 256 - 128 * label, (32, 32, 3), dtype="uint8") for label in labels])

    def split(part: int, *, flip: bool = False, **copies: Any) -> TransformedSplit:
        chosen = slice(part * COUNT, (part + 1) * COUNT)
        truth = [1 - label if flip else label for label in labels[chosen]]
        return TransformedSplit([write_transformed(pixels[chosen], truth)], size=32, **copies)

    def cross(arms: Sequence[Arm], *, flip: bool = False) -> list[TestedFold]:
        def splits(config: Config, *, console: Console) -> tuple[Any, FoldSplits]:
            parts = [0, 1, 2] if config.data.split.fold == 0 else [2, 0, 1]
            train, validation, test = parts
            copies = config.training.augmentation
            return SimpleNamespace(synthetic=True), FoldSplits(
                split(train, copies=copies), split(validation), split(test, flip=flip)
            )

        monkeypatch.setattr(module, "fold_splits", splits)
        settings = (
            *("data.split.folds=2", "image.size=32", "training.epochs=2", "training.batch_size=8"),
            f"candidates.mobilenet={{weights: {body_weights}, alpha: 0.25}}",
            "head={lstm_units: 4, dense_units: 8}",
            f"output={tmp_path / 'runs'}",
        )
        return cross_validate(arms, settings, console=Console(file=io.StringIO()))[1]

    return cross


def test_every_arm_tells_of_every_test_image(run: Callable[..., list[TestedFold]], tmp_path: Path) -> None:
    folds = run(ARMS)
    assert [set(fold.outcomes) for fold in folds] == [{"head", "probe"}] * 2
    for fold in folds:
        assert len(fold.paths) == len(fold.labels) == COUNT
        for outcome in fold.outcomes.values():
            assert len(outcome.scores) == COUNT
            assert all(0 <= score <= 1 for score in outcome.scores)
        head = fold.outcomes["head"]
        best = min(head.trials, key=lambda trial: trial["val_loss"])
        assert head.chosen["learning_rate"] == best["learning_rate"]
        assert 1 <= head.chosen["best_epoch"] <= 2

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "outcomes").iterdir()}
    assert len(files) == 4
    assert run(ARMS) == folds
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "outcomes").iterdir()} == files

    # With all test labels the other way round the same is chosen, and said.
    flipped = run([PROBE], flip=True)
    assert len(list((tmp_path / "runs" / "outcomes").iterdir())) == 6
    for fold, other in zip(folds, flipped, strict=True):
        assert [1 - label for label in other.labels] == list(fold.labels)
        assert other.outcomes["probe"].chosen == fold.outcomes["probe"].chosen
        assert other.outcomes["probe"].scores == fold.outcomes["probe"].scores
