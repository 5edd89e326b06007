"""Training is reproducible, resumes, stops early, and refuses a loss that is not finite."""

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

import h5py
import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf
from training_fixtures import THREE_VIEWS

from knet.base.digests import code_digest
from knet.base.errors import UserError
from knet.models.hybrid import count_flops
from knet.models.model_info import read_model_info
from knet.models.optimizer import SmoothedCrossentropy
from knet.training.candidate import Candidate
from knet.training.dataset import TransformedSplit
from knet.training.trainer import loss_error, run_fn
from knet.tuning.folds import FoldEvaluation
from knet.tuning.plan import SearchPlan
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

SIZE = 32
COUNT = 12
STAGED = (
    *("training.epochs=3", "training.micro_batch=3", "training.batch_size=8", "head.dropout=0.5"),
    *("training.fine_tune=staged", "training.stage_epochs=1", "training.early_stopping_patience=1"),
)
CNN_BRANCH = "head.variant=none"  # without the LSTM, whose loop takes seconds to trace

pytestmark = pytest.mark.usefixtures("tiny_mobilenet")


@pytest.fixture(scope="module")
def patterns(write_transformed: Callable[..., str]) -> tuple[str, str]:
    """Files of train and validation images; malignant is so little darker that the loss stays above 0."""
    pixels, labels = images()
    return write_transformed(pixels, labels), write_transformed(pixels[:4], labels[:4])


def images() -> tuple[np.ndarray, list[int]]:
    labels = [index % 2 for index in range(COUNT)]
    rng = np.random.default_rng(0)
    each = [rng.integers(0, 256 - 8 * label, (SIZE, SIZE, 3), dtype="uint8") for label in labels]
    return np.stack(each), labels


def candidate(*overrides: str, seed: int = 0) -> Candidate:
    small = (
        *("tuning=null", "image.size=32", "training.batch_size=4", "training.epochs=2", f"seed={seed}"),
        *("candidates={mobilenet: {weights: none}}", THREE_VIEWS),
    )
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
            "split_unit": "patient",
            "cache_root": str(folder / "feature-maps"),
        },
        hyperparameters=hyperparameters,
    )


def trained_weights(patterns: tuple[str, str], folder: Path, candidate: Candidate) -> list[np.ndarray]:
    run_fn(fn_args(patterns, folder, candidate))
    return keras.saving.load_model(folder / "run" / "model.keras", compile=False).get_weights()


@pytest.fixture(scope="module")
def reference(
    tiny_mobilenet: None, patterns: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Weights and history of a staged training that was not interrupted."""
    folder = tmp_path_factory.mktemp("reference")
    return trained_weights(patterns, folder, candidate(*STAGED)), read_history(folder)


def read_history(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "run" / "history.json").read_text("utf-8"))


def equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def own_candidate(*overrides: str) -> Candidate:
    """A candidate on a backbone of an installed package, of which the topmost block is trained."""
    own = "{backbone: 'mynets.nets:INVERTED', weights: none, training: {fine_tune: blocks, blocks: 1}}"
    config = load_config(
        "demo",
        [
            *("tuning=null", "image.size=32", "training.batch_size=4", "training.epochs=1", CNN_BRANCH),
            *(f"candidates={{deep: {own}}}", "training.augmentation=[original]", *overrides),
        ],
    )
    return candidate_from_config(config, "deep", synthetic_data=True)


def test_run_fn_trains_and_exports_a_backbone_of_a_package(
    own_package: Path, patterns: tuple[str, str], tmp_path: Path
) -> None:
    settings = own_candidate()
    run_fn(fn_args(patterns, tmp_path, settings))
    model = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    trainable = {layer.name for layer in model.get_layer("backbone").layers if layer.trainable}
    assert "block_16_expand" in trainable and "block_15_expand" not in trainable
    served = tf.saved_model.load(str(tmp_path / "Format-Serving"))
    image = tf.io.encode_png(images()[0][0])
    probabilities = served.signatures["serving_default"](image=image[None])["probabilities"].numpy()
    assert probabilities.shape == (1, 2) and probabilities.sum() == pytest.approx(1)
    info = read_model_info(tmp_path / "Format-Serving")
    assert (info.candidate, info.backbone) == ("deep", "mynets.nets:INVERTED")
    (own_package / "nets.py").write_text((own_package / "nets.py").read_text("utf-8") + "\n", "utf-8")
    assert settings.code_digest("knet.training.trainer") != info.code_sha256


def test_unknown_block_of_a_package_names_those_there_are(
    own_package: Path, patterns: tuple[str, str], tmp_path: Path
) -> None:
    settings = own_candidate("candidates.deep.block_rates={block_17: 0.1}")
    with pytest.raises(
        UserError, match=r"^candidates\.deep\.block_rates: unknown block block_17; use stem, bl"
    ):
        run_fn(fn_args(patterns, tmp_path, settings))


def test_run_fn_of_three_classes_exports_their_probabilities(
    write_transformed: Callable[..., str], tmp_path: Path
) -> None:
    pixels, _ = images()
    files = write_transformed(pixels, [0, 1, 2] * 4), write_transformed(pixels[:6], [0, 1, 2] * 2)
    three = {"classes": ("fat", "stroma", "tumor"), "positive": ("tumor", "stroma")}
    settings = candidate(CNN_BRANCH, "training.class_weights=balanced").model_copy(update=three)
    run_fn(fn_args(files, tmp_path, settings))
    info = read_model_info(tmp_path / "Format-Serving")
    assert (info.classes, info.positive) == (three["classes"], three["positive"])
    assert [sum(row) for row in info.calibration.confusion] == [2, 2, 2]
    assert read_history(tmp_path)["classes"] == list(three["classes"])
    served = tf.saved_model.load(str(tmp_path / "Format-Serving"))
    image = tf.io.encode_png(pixels[0])
    outputs = served.signatures["serving_default"](image=image[None])
    probabilities = outputs["probabilities"].numpy()[0]
    assert probabilities.shape == (3,) and probabilities.sum() == pytest.approx(1)
    assert outputs["label"].numpy()[0].decode() == three["classes"][probabilities.argmax()]
    assert outputs["positive_score"].numpy()[0] == pytest.approx(probabilities[1:].sum())


def test_run_fn_trains_with_adamw_and_focal_loss(patterns: tuple[str, str], tmp_path: Path) -> None:
    settings = candidate(
        *(CNN_BRANCH, "training.optimizer=adamw", "training.weight_decay=0.01", "training.loss=focal"),
        *("training.fine_tune=staged", "candidates.mobilenet.block_rates={block1: 0.5}"),
    )
    run_fn(fn_args(patterns, tmp_path, settings))
    info = read_model_info(tmp_path / "Format-Serving")
    assert (info.optimizer, info.weight_decay, info.momentum, info.loss) == ("adamw", 0.01, None, "focal")
    threshold = info.calibration.threshold
    assert info.calibration.temperature > 0 and threshold is not None and 0 < threshold < 1
    first, *_, last = [epoch["loss"] for epoch in read_history(tmp_path)["epochs"]]
    assert first != last and np.isfinite([first, last]).all()


@pytest.mark.slow
def test_run_fn_gives_the_same_weights_for_the_same_seed(
    reference: tuple[list[np.ndarray], dict[str, Any]], patterns: tuple[str, str], tmp_path: Path
) -> None:
    weights, _ = reference
    assert equal(weights, trained_weights(patterns, tmp_path / "again", candidate(*STAGED)))
    assert not equal(weights, trained_weights(patterns, tmp_path / "other", candidate(*STAGED, seed=1)))


@pytest.mark.slow
def test_run_fn_resumes_killed_training_bit_for_bit(
    reference: tuple[list[np.ndarray], dict[str, Any]], patterns: tuple[str, str], tmp_path: Path
) -> None:
    settings = candidate(*STAGED)
    arguments = tmp_path / "arguments.json"
    arguments.write_text(json.dumps(vars(fn_args(patterns, tmp_path, settings))), "utf-8")
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, str(root / "tests" / "support" / "train_until_killed.py"), str(arguments), "1", "2"],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    signals_and_checkpoints = [json.loads(line) for line in done.stdout.splitlines()]
    assert signals_and_checkpoints == [[signal.SIGKILL, 1], [signal.SIGKILL, 1]], done.stderr
    resumed = trained_weights(patterns, tmp_path, settings)
    weights, expected = reference
    found = read_history(tmp_path)

    assert equal(weights, resumed)
    assert (found["resumed_after"], expected["resumed_after"]) == (2, 0)
    clocks = ("seconds", "images_per_second")
    rows, expected_rows = (
        [{k: v for k, v in row.items() if k not in clocks} for row in history["epochs"]]
        for history in (found, expected)
    )
    assert rows == expected_rows
    for name in ("best_epoch", "confusion"):
        assert found[name] == expected[name]


@pytest.mark.slow
def test_run_fn_uses_and_records_tuned_values(patterns: tuple[str, str], tmp_path: Path) -> None:
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
    history = read_history(tmp_path)
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
    check_served_model(tmp_path)


def check_served_model(folder: Path) -> None:
    """Compare the exported model's answers for the validation images with its calibration."""
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
def test_run_fn_refuses_a_loss_that_is_not_finite(
    patterns: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def undefined(self: Any, y_true: Any, y_pred: Any) -> Any:
        return keras.ops.sum(y_pred, axis=-1) * float("nan")

    monkeypatch.setattr(SmoothedCrossentropy, "call", undefined)
    settings = candidate("training.epochs=30", "training.augmentation=[original]", CNN_BRANCH)
    with pytest.raises(UserError, match=r"batch 1 of epoch 1 .*lower training.learning_rate") as error:
        run_fn(fn_args(patterns, tmp_path, settings))
    assert len(re.findall(r"images/\d+\.png", str(error.value))) == 4
    assert not (tmp_path / "Format-Serving").exists()
    assert not list((tmp_path / "checkpoints").rglob("*.npz"))


@pytest.mark.parametrize(
    "step",
    [
        "knet.training.trainer.TrainingSetup",  # computes feature maps
        "knet.training.training_setup.TrainingSetup.build",
        "keras.Model.fit",
    ],
)
def test_run_fn_out_of_memory_suggests_a_micro_batch(
    patterns: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def exhausted(*_: Any, **__: Any) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(step, exhausted)
    with pytest.raises(UserError, match=r"1 x CPU ran out of memory with 4 images.*training.micro_batch=2"):
        run_fn(fn_args(patterns, tmp_path, candidate("training.micro_batch=null")))


@pytest.mark.slow
def test_run_fn_exports_float32_after_mixed_precision(patterns: tuple[str, str], tmp_path: Path) -> None:
    mixed = candidate(
        *("devices.precision=mixed_bfloat16", "training.micro_batch=3", "training.class_weights=balanced"),
        *("training.fine_tune=blocks", "training.blocks=1", "training.label_smoothing=0.1"),
        CNN_BRANCH,
    )
    run_fn(fn_args(patterns, tmp_path, mixed))
    model = keras.saving.load_model(tmp_path / "run" / "model.keras", compile=False)
    assert {layer.compute_dtype for layer in model.get_layer("backbone").layers} == {"float32"}
    assert (tmp_path / "Format-Serving" / "saved_model.pb").is_file()


def feature_maps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in (folder / "feature-maps").glob("*")}


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [0, 1])
def test_run_fn_trains_alike_on_feature_maps_and_images(
    write_transformed: Callable[..., str], tmp_path: Path, blocks: int
) -> None:
    # Patches, as the feature maps of noise are all similar, so that training multiplies rounding errors.
    patches = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 3), dtype="uint8")
    pixels = patches.repeat(8, axis=1).repeat(8, axis=2)
    labels = [index % 2 for index in range(16)]
    patterns = write_transformed(pixels[:16], labels), write_transformed(pixels[16:], labels[:8])
    settings = (
        *("training.fine_tune=blocks", f"training.blocks={blocks}", "training.learning_rate=0.0001"),
        *("training.batch_size=16", CNN_BRANCH),
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
def test_tuner_and_trainer_share_feature_maps(patterns: tuple[str, str], tmp_path: Path) -> None:
    tuning = load_config("demo").tuning
    assert tuning is not None
    head = candidate(
        *("training.fine_tune=blocks", "training.blocks=0", "training.feature_cache=true", CNN_BRANCH)
    )
    arguments = {"train_files": [patterns[0]], "cache_root": str(tmp_path / "feature-maps")}
    plan = SearchPlan(candidate=head, tuning=tuning, evaluation="", arguments=arguments)
    FoldEvaluation(plan)({"learning_rate": 0.01, "momentum": 0.5}, 1)
    before = feature_maps(tmp_path)
    assert len(before) == 2  # of train with augmentation, and of the held-out images without
    run_fn(fn_args(patterns, tmp_path, head))
    after = feature_maps(tmp_path)
    assert before.items() <= after.items() and len(after) == 3  # validation in addition


@pytest.mark.slow
def test_run_fn_stops_early(patterns: tuple[str, str], tmp_path: Path) -> None:
    # At a learning rate near 0 the validation loss hardly changes, and rises with the moving statistics.
    settings = candidate(
        *("training.epochs=30", "training.early_stopping_patience=1", "training.learning_rate=1e-12"),
        CNN_BRANCH,
    )
    run_fn(fn_args(patterns, tmp_path, settings))
    assert read_model_info(tmp_path).epochs < 30


@pytest.mark.slow
@pytest.mark.parametrize("cached", [False, True])
def test_run_fn_snapshot_equals_a_training_of_that_many_epochs(
    patterns: tuple[str, str], tmp_path: Path, cached: bool
) -> None:
    settings = (
        "training.early_stopping_patience=1",
        CNN_BRANCH,
        "head.dropout=0.5",
        "training.early_stopping_monitor=val_accuracy",
    )
    fine_tuning = ("training.fine_tune=blocks", "training.blocks=0") if cached else STAGED[-3:-1]
    several = candidate(*settings, *fine_tuning, "training.epochs=6", "training.snapshots=[2,6]")
    best = trained_weights(patterns, tmp_path / "several", several)
    history = read_history(tmp_path / "several")
    stopped = history["stopped_after"]
    assert 2 <= stopped < 6 == len(history["epochs"])
    assert read_model_info(tmp_path / "several").epochs == stopped

    without = candidate(*settings, *fine_tuning, "training.epochs=6")
    assert equal(best, trained_weights(patterns, tmp_path / "without", without))
    expected = read_history(tmp_path / "without")
    for name in ("best_epoch", "stopped_after", "confusion"):
        assert history[name] == expected[name]
    assert len(expected["epochs"]) == stopped

    for epochs in (2, 6):
        # Its only snapshot is the last epoch.
        single = candidate(
            *settings, *fine_tuning, f"training.epochs={epochs}", f"training.snapshots=[{epochs}]"
        )
        folder = tmp_path / str(epochs)
        run_fn(fn_args(patterns, folder, single))
        one, other = (snapshot_weights(tmp_path / name / "run", epochs) for name in ("several", str(epochs)))
        assert equal(one, other)
        assert not any((folder / "checkpoints" / "mobilenet").iterdir())


def snapshot_weights(run: Path, epoch: int) -> list[np.ndarray]:
    model = keras.saving.load_model(run / "model.keras", compile=False)
    file = run / f"epoch-{epoch}.weights.h5"
    with h5py.File(file) as content:
        assert "optimizer" not in content
    model.load_weights(file)
    return model.get_weights()


CANDIDATE = candidate_from_config(
    load_config("demo", ["training.batch_size=30", "training.augmentation=[original]"]),
    "mobilenet",
    synthetic_data=True,
)


@pytest.fixture(scope="module")
def train(write_transformed: Callable[..., str]) -> TransformedSplit:
    pixels = np.random.default_rng(0).integers(0, 256, (31, 4, 4, 3), dtype="uint8")
    return TransformedSplit([write_transformed(pixels, [0] * 31)], size=4)


def test_loss_error_names_20_images_and_the_log_all(
    train: TransformedSplit, caplog: pytest.LogCaptureFixture
) -> None:
    text = str(loss_error(CANDIDATE, train, epoch=2, batch=0, shuffle_buffer=9, learning_rate=0.5))
    assert "batch 1 of epoch 3 with learning rate 0.5" in text
    assert text.count("images/") == 20 and "and 10 more" in text
    assert caplog.text.count("images/") == 30


def test_loss_error_of_the_last_batch(train: TransformedSplit) -> None:
    text = str(loss_error(CANDIDATE, train, epoch=0, batch=1, shuffle_buffer=9, learning_rate=0.5))
    assert text.count("images/") == 1 and "more" not in text


def test_loss_error_of_validation_names_no_images(train: TransformedSplit) -> None:
    text = str(loss_error(CANDIDATE, train, epoch=0, batch=None, shuffle_buffer=9, learning_rate=0.5))
    assert "validation loss is not finite after epoch 1" in text and "images/" not in text
