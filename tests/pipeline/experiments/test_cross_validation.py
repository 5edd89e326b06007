"""Cross-validation trains every variant once on every fold, and chooses on validation images only."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import keras
import numpy as np
import pytest
from rich.console import Console

from knet.models.backbones import BACKBONES
from knet.training.dataset import TransformedSplit
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.experiments import cross_validation
from pipeline.experiments.cross_validation import (
    PROBE,
    FoldResult,
    FoldSplits,
    FoldTestSet,
    LabeledEmbeddings,
    Variant,
    cross_validate,
    linear_probe,
    patient_by_image,
    read_fold_result,
)

COUNT = 12
TWO_VARIANTS = (Variant("head", "the head", ("head.variant=none",), learning_rates=(1e-9, 0.05)), PROBE)


@pytest.fixture
def run(
    tiny_mobilenet: None,
    write_transformed: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., list[FoldTestSet]]:
    """Return a function that cross-validates on two folds of images in which malignant is darker."""
    weights = tmp_path / "mobilenet.weights.h5"
    keras.utils.set_random_seed(0)
    BACKBONES["mobilenet"].build(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(
        weights
    )
    labels = [index % 2 for index in range(3 * COUNT)]
    rng = np.random.default_rng(0)
    pixels = np.stack([rng.integers(0, 256 - 128 * label, (32, 32, 3), dtype="uint8") for label in labels])

    def split(part: int, *, flip: bool = False, **settings: Any) -> TransformedSplit:
        chosen = slice(part * COUNT, (part + 1) * COUNT)
        truth = [1 - label if flip else label for label in labels[chosen]]
        return TransformedSplit([write_transformed(pixels[chosen], truth)], size=32, **settings)

    def cross(variants: Sequence[Variant], *, flip: bool = False) -> list[FoldTestSet]:
        def splits(config: Config, *, console: Console) -> tuple[Any, FoldSplits]:
            parts = [0, 1, 2] if config.data.split.fold == 0 else [2, 0, 1]
            train, validation, test = parts
            augmentations = config.training.augmentation
            return SimpleNamespace(synthetic=True), FoldSplits(
                split(train, offline_augmentations=augmentations), split(validation), split(test, flip=flip)
            )

        monkeypatch.setattr(cross_validation, "transform_fold", splits)
        settings = (
            *("data.split.folds=2", "image.size=32", "training.epochs=2", "training.batch_size=8"),
            f"candidates.mobilenet={{weights: {weights}, alpha: null}}",
            "head={lstm_units: 4, dense_units: 8}",
            f"output={tmp_path / 'runs'}",
        )
        return cross_validate(variants, settings, console=Console(file=io.StringIO()))[1]

    return cross


@pytest.mark.slow
def test_cross_validate_trains_once_and_ignores_test_labels(
    run: Callable[..., list[FoldTestSet]], tmp_path: Path
) -> None:
    folds = run(TWO_VARIANTS)
    assert [set(fold.results) for fold in folds] == [{"head", "probe"}] * 2
    for fold in folds:
        assert len(fold.paths) == len(fold.labels) == COUNT
        for result in fold.results.values():
            assert len(result.scores) == COUNT
            assert all(0 <= score <= 1 for score in result.scores)
        head = fold.results["head"]
        best = min(head.trials, key=lambda trial: trial["val_loss"])
        assert head.chosen["learning_rate"] == best["learning_rate"]
        assert 1 <= head.chosen["best_epoch"] <= 2

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "fold_results").iterdir()}
    assert len(files) == 4
    assert run(TWO_VARIANTS) == folds
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs" / "fold_results").iterdir()} == files

    # Flipped test labels change neither the choice nor the scores.
    flipped = run([PROBE], flip=True)
    assert len(list((tmp_path / "runs" / "fold_results").iterdir())) == 6
    for fold, other in zip(folds, flipped, strict=True):
        assert [1 - label for label in other.labels] == list(fold.labels)
        assert other.results["probe"].chosen == fold.results["probe"].chosen
        assert other.results["probe"].scores == fold.results["probe"].scores


def drawn(count: int, *, seed: int, apart: float) -> LabeledEmbeddings:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return rng.normal(apart * labels[:, None], 1, (count, 8)), labels


def test_linear_probe_separates_distant_classes() -> None:
    embeddings, labels = drawn(40, seed=2, apart=3)
    result = linear_probe(
        train=drawn(60, seed=0, apart=3), validation=drawn(20, seed=1, apart=3), test=embeddings
    )
    assert ((np.array(result.scores) > 0.5) == labels).all()


@pytest.mark.parametrize("apart", [0.0, 0.5, 3.0])
def test_linear_probe_chooses_the_lowest_validation_loss(apart: float) -> None:
    train, validation = drawn(60, seed=0, apart=apart), drawn(20, seed=1, apart=apart)
    result = linear_probe(train=train, validation=validation, test=validation[0], c_grid=(1e-4, 1e-2, 1e2))
    assert [trial["C"] for trial in result.trials] == [1e-4, 1e-2, 1e2]
    best = min(result.trials, key=lambda trial: trial["val_loss"])
    assert result.chosen == {"C": best["C"]}
    scores = np.array(result.scores)
    right = np.where(validation[1] == 1, scores, 1 - scores)
    assert best["val_loss"] == pytest.approx(-np.log(right).mean())


def test_linear_probe_regularizes_noise_more() -> None:
    chosen = {
        apart: linear_probe(
            train=drawn(60, seed=0, apart=apart),
            validation=drawn(200, seed=1, apart=apart),
            test=np.zeros((1, 8)),
        ).chosen["C"]
        for apart in (0.0, 3.0)
    }
    assert chosen[0.0] < chosen[3.0]


def test_linear_probe_scores_test_images_independently() -> None:
    train, validation = drawn(60, seed=0, apart=1), drawn(20, seed=1, apart=1)
    embeddings, _ = drawn(10, seed=2, apart=1)
    whole = linear_probe(train=train, validation=validation, test=embeddings).scores
    alone = linear_probe(train=train, validation=validation, test=embeddings[3:4]).scores
    assert alone == pytest.approx(whole[3:4])


def test_read_fold_result_inverts_write(tmp_path: Path) -> None:
    result = FoldResult(
        chosen={"learning_rate": 0.1, "best_epoch": 3},
        trials=({"learning_rate": 0.1, "val_loss": 0.7}, {"learning_rate": 1.0, "val_loss": float("inf")}),
        scores=(0.1, 0.30000000000000004),
        seconds=1.5,
        device="1 x CPU",
    )
    file = tmp_path / "fold_results" / "one.json"
    result.write(file)
    assert read_fold_result(file) == result
    assert [path.name for path in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("keep", [True, False])
def test_patient_by_image_has_the_images_of_the_run(breakhis: Callable[..., Path], keep: bool) -> None:
    """Both copies of the slide that BreaKHis files under two subtypes, or one."""
    images = ["SOB_M_DC-14-13412-40-001.png", "SOB_M_LC-14-13412-40-001.png", "SOB_B_A-14-22549AB-40-001.png"]
    data = SimpleNamespace(source=breakhis(*images), root=None)
    config = load_config("demo", [f"data.keep_duplicate_slides={str(keep).lower()}"])
    patients = patient_by_image(config, cast(Any, data))
    assert len(patients) == (3 if keep else 2)
