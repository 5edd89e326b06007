"""Evaluation over folds: every trial trains as the Trainer would, from the same initial weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_fixtures import THREE_VIEWS

from knet.data.grouping import held_out_masks
from knet.training.candidate import apply_hyperparameters
from knet.training.dataset import TransformedSplit
from knet.training.devices import prepare_devices, start_from_seed
from knet.training.trainer import fit_arguments
from knet.training.training_setup import TrainingSetup
from knet.tuning.folds import FoldEvaluation
from knet.tuning.plan import SearchPlan, TrialError, Values, score
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

SIZE, IMAGES, PATIENTS = 32, 16, 8
VALUES = {"learning_rate": 0.02, "momentum": 0.6, "learning_rate_decay": 0.5}
OTHERS = {"learning_rate": 0.1, "momentum": 0.9, "learning_rate_decay": 0.9}

pytestmark = pytest.mark.usefixtures("tiny_mobilenet")


@pytest.fixture(scope="module")
def files(write_transformed: Callable[..., str]) -> str:
    """Two images of each of eight patients, every other of whom is malignant."""
    patches = np.random.default_rng(0).integers(0, 256, (IMAGES, 4, 4, 3), dtype="uint8")
    patients = [f"14-{index % PATIENTS}" for index in range(IMAGES)]
    labels = [index % 2 for index in range(IMAGES)]
    return write_transformed(patches.repeat(8, axis=1).repeat(8, axis=2), labels, patients)


@pytest.fixture(scope="module")
def make_fold_plan(files: str, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., SearchPlan]:
    maps = tmp_path_factory.mktemp("maps")

    def make(*overrides: str) -> SearchPlan:
        config = load_config(
            "demo",
            [
                *("image.size=32", "training.batch_size=8", "tuning.folds=2", "head.dropout=0.5"),
                *("candidates={mobilenet: {weights: none}}", THREE_VIEWS),
                *("training.fine_tune=blocks", "training.blocks=0", *overrides),
            ],
        )
        assert config.tuning is not None
        return SearchPlan(
            candidate=candidate_from_config(config, "mobilenet", synthetic_data=True),
            tuning=config.tuning,
            evaluation="",
            arguments={"train_files": [files], "cache_root": str(maps)},
        )

    return make


def train_folds(plan: SearchPlan, values: Values, epochs: int) -> list[float]:
    """Train a separate model on each fold with constant hyperparameters; return the loss of each."""
    candidate = apply_hyperparameters(plan.candidate, {**values, "epochs": epochs})
    files = plan.arguments["train_files"]
    originals = TransformedSplit(files, size=SIZE)
    train = TransformedSplit(files, size=SIZE, offline_augmentations=candidate.training.augmentation)
    labels, patients = originals.labels_and_patients()
    losses = []
    for mask in held_out_masks(patients, labels.tolist(), classes=candidate.classes, folds=2, seed=0):
        start_from_seed(0)
        setup = TrainingSetup(
            candidate,
            devices=prepare_devices(candidate.devices),
            train=train.subset(~mask, labels=labels),
            validation=originals.subset(mask, labels=labels),
            cache_root=Path(plan.arguments["cache_root"]) / "separate",
        )
        model, _ = setup.build(learning_rate=values["learning_rate"], momentum=values["momentum"])
        arguments = fit_arguments(candidate, setup.train, setup.validation, replicas=1)
        model.fit(**arguments, callbacks=[candidate.early_stopping()])
        probabilities = model.predict(arguments["validation_data"], verbose=0)
        losses.append(score(probabilities, labels[mask], objective="val_loss"))
    return losses


@pytest.fixture(scope="module")
def evaluate(tiny_mobilenet: None, make_fold_plan: Callable[..., SearchPlan]) -> FoldEvaluation:
    return FoldEvaluation(make_fold_plan())


@pytest.mark.slow
def test_evaluation_trains_like_a_separate_model(
    make_fold_plan: Callable[..., SearchPlan], evaluate: FoldEvaluation
) -> None:
    evaluate(OTHERS, 2)  # must not affect the next
    found = evaluate(VALUES, 3)
    assert found == pytest.approx(np.mean(train_folds(make_fold_plan(), VALUES, 3)), rel=1e-4)
    assert evaluate(OTHERS, 3) != pytest.approx(found, rel=1e-3)
    assert evaluate(VALUES, 3) == found


def test_evaluation_with_infinite_loss_is_a_trial_error(evaluate: FoldEvaluation) -> None:
    with pytest.raises(TrialError, match="the loss is not finite in epoch 1"):
        evaluate({**VALUES, "learning_rate": 1e38}, 2)
    assert np.isfinite(evaluate(VALUES, 1))


def test_evaluation_out_of_memory_is_a_trial_error(
    evaluate: FoldEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any, **__: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", exhausted)
    with pytest.raises(TrialError, match="1 x CPU ran out of memory with .* set training.micro_batch="):
        evaluate(VALUES, 1)


@pytest.mark.slow
def test_evaluation_accepts_changing_architectures(make_fold_plan: Callable[..., SearchPlan]) -> None:
    evaluate = FoldEvaluation(make_fold_plan("tuning.folds=1", "tuning.objective=balanced_accuracy"))
    narrow = {**VALUES, "lstm_units": 8, "dense_units": 8, "dropout": 0.1}
    first = evaluate(narrow, 1)
    assert 0 <= evaluate({**VALUES, "blocks": 1}, 1) <= 1
    assert evaluate(narrow, 1) == first


@pytest.mark.slow
def test_staged_trials_start_with_the_first_stage(make_fold_plan: Callable[..., SearchPlan]) -> None:
    staged = ("training.fine_tune=staged", "training.blocks=null", "training.stage_epochs=2")
    evaluate = FoldEvaluation(make_fold_plan(*staged, "tuning.folds=1", "head.variant=none"))
    found = evaluate(VALUES, 3)
    assert np.isfinite(found) and evaluate(VALUES, 3) == found


@pytest.mark.usefixtures("tiny_mobilenet")
def test_adamw_trials_repeat_and_depend_on_weight_decay(make_fold_plan: Callable[..., SearchPlan]) -> None:
    adamw = ("training.optimizer=adamw", "tuning.weight_decay={}")
    evaluate = FoldEvaluation(make_fold_plan(*adamw, "tuning.folds=1", "head.variant=none"))
    values = {"learning_rate": 0.01, "weight_decay": 0.001}
    found = evaluate(values, 2)
    assert evaluate({**values, "weight_decay": 0.9}, 2) != pytest.approx(found, rel=1e-4)
    assert evaluate(values, 2) == found
