"""Training is reproducible, stops early, decays its learning rate and refuses a diverged model."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from knet.base import schema_names
from knet.base.digests import code_digest
from knet.base.errors import UserError
from knet.models.export import check_images, model_outputs
from knet.models.hybrid import count_flops
from knet.models.images import laplacian_variance, tissue_fraction
from knet.models.model_info import read_model_info
from knet.models.optimizer import SmoothedCrossentropy
from knet.training.candidate import Candidate
from knet.training.dataset import TransformedSplit
from knet.training.devices import prepare_devices
from knet.training.trainer import fit_postprocessing, loss_error, run_fn
from knet.training.training_setup import TrainingSetup
from knet.tuning.folds import FoldEvaluation
from knet.tuning.plan import SearchPlan
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

SIZE = 32
COUNT = 12


@pytest.fixture(scope="module")
def patterns(write_transformed: Callable[..., str]) -> tuple[str, str]:
    """Files of train and validation images in which malignant is darker."""
    pixels, labels = images()
    return write_transformed(pixels, labels), write_transformed(pixels[:4], labels[:4])


def images() -> tuple[np.ndarray, list[int]]:
    labels = [index % 2 for index in range(COUNT)]
    rng = np.random.default_rng(0)
    each = [rng.integers(0, 256 - 128 * label, (SIZE, SIZE, 3), dtype="uint8") for label in labels]
    return np.stack(each), labels


def candidate(*overrides: str, seed: int = 0) -> Candidate:
    small = ("tuning=null", "image.size=32", "training.batch_size=4", "training.epochs=2", f"seed={seed}")
    return candidate_from_config(load_config("demo", [*small, *overrides]), "mobilenet", synthetic_data=True)


def fn_args(
    patterns: tuple[str, str],
    folder: Path,
    candidate: Candidate,
    *,
    hyperparameters: dict[str, Any] | None = None,
) -> SimpleNamespace:
    return SimpleNamespace(
        train_files=[patterns[0]],
        eval_files=[patterns[1]],
        serving_model_dir=str(folder / "Format-Serving"),
        model_run_dir=str(folder / "run"),
        working_dir=str(folder / "work"),
        custom_config={
            "candidate": candidate.model_dump_json(),
            "checkpoints": str(folder / "checkpoints"),
            "fingerprint": "of the files",
            "split_sha256": "of the split",
            "cache_root": str(folder / "feature-maps"),
        },
        hyperparameters=hyperparameters,
    )


def trained_weights(patterns: tuple[str, str], folder: Path, candidate: Candidate) -> list[np.ndarray]:
    run_fn(fn_args(patterns, folder, candidate))
    return keras.saving.load_model(folder / "run" / "model.keras", compile=False).get_weights()


@pytest.mark.slow
def test_same_seed_gives_the_same_weights_and_another_seed_does_not(
    patterns: tuple[str, str], tmp_path: Path
) -> None:
    one = trained_weights(patterns, tmp_path / "one", candidate())
    again = trained_weights(patterns, tmp_path / "again", candidate())
    other = trained_weights(patterns, tmp_path / "other", candidate(seed=1))
    assert all(np.array_equal(a, b) for a, b in zip(one, again, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
def test_tuned_values_are_used_and_recorded(patterns: tuple[str, str], tmp_path: Path) -> None:
    best = keras_tuner.HyperParameters()
    best.Fixed("learning_rate", 0.02)
    best.Fixed("momentum", 0.7)
    best.Fixed("lstm_units", 8)
    settings = candidate("calibration.threshold=sensitivity")
    run_fn(fn_args(patterns, tmp_path, settings, hyperparameters=best.get_config()))
    info = read_model_info(tmp_path)
    assert (info.learning_rate, info.momentum) == (0.02, 0.7)
    assert info.tuned == {"learning_rate": 0.02, "momentum": 0.7, "lstm_units": 8}
    model = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert [layer.units for layer in model.get_layer("head").layers if "lstm" in layer.name] == [8]
    assert (info.train_images, info.validation_images) == (COUNT, 4)
    assert info.flops == count_flops(keras.saving.load_model(tmp_path / "run" / "model.keras"))
    assert info.synthetic_data
    assert info.fingerprint == "of the files" and info.split_sha256 == "of the split"
    assert info.code_sha256 == code_digest("knet.training.trainer")
    assert info.calibration.confusion[1] == (0, 2) and info.rejected["validation"] == 0
    history = json.loads((tmp_path / "run" / "history.json").read_text("utf-8"))
    assert history["confusion"] == [list(row) for row in info.calibration.confusion]
    rows = history["epochs"]
    assert [row["epoch"] for row in rows] == [1, 2]
    assert all(row["seconds"] > 0 and row["images_per_second"] > 0 for row in rows)
    assert rows[0]["learning_rate"] == pytest.approx(0.02)
    assert rows[1]["learning_rate"] < rows[0]["learning_rate"]
    assert history["best_epoch"] == 1 + int(np.argmin([row["val_loss"] for row in rows]))
    assert np.sum(history["confusion"], axis=1).tolist() == [2, 2]
    assert history["device"] == info.device and history["peak_memory_bytes"] > 2**20
    assert history["resumed_after"] == 0
    assert not list((tmp_path / "checkpoints").rglob("*.npz"))
    served_as_the_account_says(tmp_path)


def served_as_the_account_says(folder: Path) -> None:
    """Asks the exported model about the validation images."""
    calibration = read_model_info(folder).calibration
    pixels, labels = images()
    served = tf.saved_model.load(str(folder / "Format-Serving")).signatures["serving_default"]
    answer = served(image=tf.constant([tf.io.encode_png(one).numpy() for one in pixels[:4]]))
    score, called = answer["score"].numpy(), answer["label"].numpy() == b"malignant"
    np.testing.assert_array_equal(called, score >= np.float32(calibration.threshold))
    confusion = np.zeros((2, 2), int)
    np.add.at(confusion, (labels[:4], called.astype(int)), 1)
    assert confusion.tolist() == [list(row) for row in calibration.confusion]
    right = np.where(np.array(labels[:4]) == 1, score, 1 - score)
    assert calibration.after.log_loss == pytest.approx(-np.log(right).mean(), rel=1e-3)
    assert answer["in_distribution"].numpy().all()


@pytest.mark.slow
def test_a_diverged_training_is_refused_with_the_remedy(
    patterns: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undefined(self: Any, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.sum(y_pred, axis=-1) * float("nan")

    monkeypatch.setattr(SmoothedCrossentropy, "call", undefined)
    wild = candidate("training.epochs=30", "training.augmentation=[original]")
    with pytest.raises(UserError, match=r"batch 1 of epoch 1 .*lower training.learning_rate") as error:
        run_fn(fn_args(patterns, tmp_path, wild))
    assert len(re.findall(r"images/\d+\.png", str(error.value))) == 4
    assert not (tmp_path / "Format-Serving").exists()
    assert not list((tmp_path / "checkpoints").rglob("*.npz"))


def test_memory_that_runs_out_suggests_a_micro_batch(
    patterns: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: Any, **__: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(keras.Model, "fit", exhausted)
    with pytest.raises(UserError, match=r"1 x CPU ran out of memory with 4 images.*training.micro_batch=2"):
        run_fn(fn_args(patterns, tmp_path, candidate("training.micro_batch=null")))


@pytest.mark.slow
def test_what_is_trained_in_mixed_precision_is_served_in_float32(
    patterns: tuple[str, str], tmp_path: Path
) -> None:
    mixed = candidate(
        *("devices.precision=mixed_bfloat16", "training.micro_batch=3", "training.class_weights=balanced"),
        *("training.fine_tune=blocks", "training.blocks=1", "training.label_smoothing=0.1"),
    )
    run_fn(fn_args(patterns, tmp_path, mixed))
    model = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert {layer.compute_dtype for layer in model.get_layer("backbone").layers} == {"float32"}
    assert (tmp_path / "Format-Serving" / "saved_model.pb").is_file()


def feature_maps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "feature-maps").glob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [0, 2])
def test_kept_feature_maps_give_the_model_that_images_give(
    write_transformed: Callable[..., str], body_weights: Path, tmp_path: Path, blocks: int
) -> None:
    # Of patches, since all noise looks alike to a backbone: what learns from it multiplies any rounding.
    patches = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 3), dtype="uint8")
    pixels = patches.repeat(8, axis=1).repeat(8, axis=2)
    labels = [index % 2 for index in range(16)]
    patterns = write_transformed(pixels[:16], labels), write_transformed(pixels[16:], labels[:8])
    settings = (
        *("training.fine_tune=blocks", f"training.blocks={blocks}", "training.learning_rate=0.0001"),
        *(f"candidates.mobilenet.weights={body_weights}", "training.batch_size=16"),
    )
    answers = {}
    for cache in ("true", "false"):
        folder = tmp_path / cache
        run_fn(fn_args(patterns, folder, candidate(*settings, f"training.feature_cache={cache}")))
        model = keras.saving.load_model(folder / "run" / "model.keras", compile=False)
        answers[cache] = model.predict(pixels.astype("float32"), verbose=0)
    assert len(feature_maps(tmp_path / "true")) == 2
    assert len(feature_maps(tmp_path / "false")) == 0
    assert np.ptp(answers["true"][:, 1]) > 0.01
    np.testing.assert_allclose(answers["true"], answers["false"], atol=1e-3)


@pytest.mark.slow
def test_tuner_and_trainer_have_feature_maps_computed_once(
    patterns: tuple[str, str], body_weights: Path, tmp_path: Path
) -> None:
    tuning = load_config("demo").tuning
    assert tuning is not None
    head = candidate(
        *("training.fine_tune=blocks", "training.blocks=0", "training.feature_cache=true"),
        f"candidates.mobilenet.weights={body_weights}",
    )
    arguments = {"train_files": [patterns[0]], "cache_root": str(tmp_path / "feature-maps")}
    plan = SearchPlan(candidate=head, tuning=tuning, evaluation="", arguments=arguments)
    FoldEvaluation(plan)({"learning_rate": 0.01, "momentum": 0.5}, 1)
    kept = feature_maps(tmp_path)
    assert len(kept) == 2  # of train with augmentation, and of the held-out images without
    run_fn(fn_args(patterns, tmp_path, head))
    after = feature_maps(tmp_path)
    assert kept.items() <= after.items() and len(after) == 3  # those of validation


@pytest.mark.slow
def test_training_stops_when_validation_no_longer_improves(patterns: tuple[str, str], tmp_path: Path) -> None:
    # With next to no learning rate the validation loss hardly moves, and rises as the statistics drift.
    still = candidate(
        "training.epochs=30", "training.early_stopping_patience=1", "training.learning_rate=1e-12"
    )
    run_fn(fn_args(patterns, tmp_path, still))
    assert read_model_info(tmp_path).epochs < 30


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_bits(patterns: tuple[str, str], tmp_path: Path) -> None:
    settings = candidate(
        *("training.epochs=3", "training.micro_batch=3", "training.batch_size=8", "head.dropout=0.5"),
        *("training.fine_tune=staged", "training.early_stopping_patience=1"),
    )
    whole = trained_weights(patterns, tmp_path / "whole", settings)
    expected = json.loads((tmp_path / "whole" / "run" / "history.json").read_text("utf-8"))

    arguments = tmp_path / "arguments.json"
    arguments.write_text(json.dumps(vars(fn_args(patterns, tmp_path / "killed", settings))), "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[3])}
    killer = [
        sys.executable,
        str(Path(__file__).resolve().parents[2] / "support" / "train_until_killed.py"),
        str(arguments),
    ]
    for epoch in (1, 2):
        done = subprocess.run(
            [*killer, str(epoch)], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert len(list((tmp_path / "killed" / "checkpoints" / "mobilenet").iterdir())) == 1
    resumed = trained_weights(patterns, tmp_path / "killed", settings)
    found = json.loads((tmp_path / "killed" / "run" / "history.json").read_text("utf-8"))

    assert all(np.array_equal(a, b) for a, b in zip(whole, resumed, strict=True))
    assert (found["resumed_after"], expected["resumed_after"]) == (2, 0)
    clocks = ("seconds", "images_per_second")
    for history in (found, expected):
        history["epochs"] = [{k: v for k, v in row.items() if k not in clocks} for row in history["epochs"]]
    for name in ("epochs", "best_epoch", "confusion"):
        assert found[name] == expected[name]


@pytest.fixture(scope="module")
def setup(write_transformed: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> TrainingSetup:
    """Patches of stained and of empty glass, more or less of them in each image."""
    rng = np.random.default_rng(0)
    stained = rng.random((60, 8, 8, 1)) < rng.uniform(0.3, 0.9, (60, 1, 1, 1))
    patches = np.where(stained, (150, 80, 160), (240, 235, 240)).repeat(4, axis=1).repeat(4, axis=2)
    pixels = np.clip(patches + rng.normal(0, 3, patches.shape), 0, 255).astype("uint8")
    labels = [index % 2 for index in range(len(pixels))]
    splits = [
        TransformedSplit([write_transformed(pixels[part], labels[part])], size=SIZE)
        for part in (slice(40), slice(40, None))
    ]
    small = load_config("demo", ["tuning=null", "image.size=32", "head.dense_units=8"])
    candidate = candidate_from_config(small, "mobilenet", synthetic_data=True)
    return TrainingSetup(
        candidate,
        devices=prepare_devices(candidate.devices),
        train=splits[0],
        validation=splits[1],
        cache_root=tmp_path_factory.mktemp("cache"),
    )


@pytest.fixture(scope="module")
def model(setup: TrainingSetup) -> Any:
    return setup.build(learning_rate=0.01, momentum=0.9)[1]


def test_images_of_no_tissue_are_rejected(setup: TrainingSetup, model: Any) -> None:
    decision = fit_postprocessing(model, setup, batch_size=16)
    assert decision.rejected["validation"] <= 0.05
    rng = np.random.default_rng(1)
    ramp = np.linspace(0, 255, SIZE)
    others = np.stack(
        [
            np.full((SIZE, SIZE, 3), 255),
            np.zeros((SIZE, SIZE, 3)),
            rng.integers(0, 256, (SIZE, SIZE, 3)),
            np.stack([np.tile(ramp, (SIZE, 1)), np.tile(ramp[:, None], SIZE), np.full((SIZE, SIZE), 90)], 2),
        ]
    ).astype("uint8")
    outputs = model_outputs(model, {"": tf.data.Dataset.from_tensors((others, np.zeros(4, int)))})[""]
    found = check_images(
        outputs.embeddings,
        tf.stack([tissue_fraction(one) for one in others]),
        tf.stack([laplacian_variance(one) for one in others]),
        gaussians=decision.gaussians,
        limits=decision.limits,
    )
    assert not found[schema_names.IN_DISTRIBUTION].numpy().any()
    white, black, noise, gradient = ({*row} - {b""} for row in found[schema_names.REASONS].numpy())
    assert {b"little tissue", b"blurred"} <= white
    assert b"blurred" in black and b"noisy" in noise and b"blurred" in gradient


def test_a_model_that_gives_nothing_is_refused(setup: TrainingSetup, model: Any) -> None:
    weights = model.get_weights()
    model.set_weights([np.full_like(values, np.nan) for values in weights])
    try:
        with pytest.raises(UserError, match="undefined values on train images; lower training.learning_rate"):
            fit_postprocessing(model, setup, batch_size=16)
    finally:
        model.set_weights(weights)


CANDIDATE = candidate_from_config(
    load_config("demo", ["training.batch_size=30", "training.augmentation=[original]"]),
    "mobilenet",
    synthetic_data=True,
)


@pytest.fixture(scope="module")
def train(write_transformed: Callable[..., str]) -> TransformedSplit:
    pixels = np.random.default_rng(0).integers(0, 256, (31, 4, 4, 3), dtype="uint8")
    return TransformedSplit([write_transformed(pixels, [0] * 31)], size=4)


def test_some_names_are_in_the_error_and_all_in_the_log(
    train: TransformedSplit, caplog: pytest.LogCaptureFixture
) -> None:
    text = str(loss_error(CANDIDATE, train, epoch=2, batch=0, shuffle_buffer=9, learning_rate=0.5))
    assert "batch 1 of epoch 3 with learning rate 0.5" in text
    assert text.count("images/") == 20 and "and 10 more" in text
    assert caplog.text.count("images/") == 30


def test_the_last_batch_is_short(train: TransformedSplit) -> None:
    text = str(loss_error(CANDIDATE, train, epoch=0, batch=1, shuffle_buffer=9, learning_rate=0.5))
    assert text.count("images/") == 1 and "more" not in text


def test_validation_has_no_batch(train: TransformedSplit) -> None:
    text = str(loss_error(CANDIDATE, train, epoch=0, batch=None, shuffle_buffer=9, learning_rate=0.5))
    assert "validation loss is not finite after epoch 1" in text and "images/" not in text
