"""Setup: the whole model on images, or its trainable part on cached feature maps."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from training_fixtures import THREE_VIEWS

from knet.base.errors import UserError
from knet.base.progress import PROGRESS
from knet.models.stain import fit_stain_reference
from knet.training import feature_cache
from knet.training.candidate import Candidate
from knet.training.dataset import TransformedSplit
from knet.training.devices import Devices
from knet.training.feature_cache import CachedSplit
from knet.training.training_setup import TrainingSetup
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

SIZE = 32
DEVICES = Devices(strategy=tf.distribute.get_strategy(), precision="float32", xla=False, description="")


@pytest.fixture(scope="module")
def pattern(write_transformed: Callable[..., str]) -> str:
    pixels = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype="uint8")
    return write_transformed(pixels, [0, 1, 0, 1])


@pytest.fixture
def make_setup(tiny_mobilenet: None, pattern: str, tmp_path: Path) -> Callable[..., TrainingSetup]:
    def make(*overrides: str) -> TrainingSetup:
        candidate = make_candidate(*overrides)
        return TrainingSetup(
            candidate,
            devices=DEVICES,
            train=TransformedSplit(
                [pattern], size=SIZE, offline_augmentations=candidate.training.augmentation
            ),
            validation=TransformedSplit([pattern], size=SIZE),
            cache_root=tmp_path / "maps",
        )

    return make


def make_candidate(*overrides: str) -> Candidate:
    small = ("tuning=null", "image.size=32", "candidates={mobilenet: {weights: none}}")
    settings = (*small, THREE_VIEWS, *overrides)
    return candidate_from_config(load_config("demo", settings), "mobilenet", synthetic_data=True)


def blocks(count: int, cache: str = "auto") -> tuple[str, ...]:
    return "training.fine_tune=blocks", f"training.blocks={count}", f"training.feature_cache={cache}"


def test_setup_caches_every_view_of_train_and_validation_once(
    make_setup: Callable[..., TrainingSetup],
) -> None:
    made = make_setup(*blocks(1))
    assert isinstance(made.train, CachedSplit) and isinstance(made.validation, CachedSplit)
    assert (made.train.count, made.train.view_count) == (4, 3)
    assert (made.validation.count, made.validation.view_count) == (4, 1)
    trainable, whole = made.build(learning_rate=0.1, momentum=0.9)
    variables = {id(variable) for variable in trainable.trainable_variables}
    assert variables == {id(variable) for variable in whole.trainable_variables}
    names = {variable.path.split("/")[0] for variable in trainable.variables}
    assert "block2_conv" in names and "block1_conv" not in names


def test_every_build_has_the_frozen_weights_of_the_feature_maps(
    make_setup: Callable[..., TrainingSetup],
) -> None:
    made = make_setup(*blocks(0))
    pixels = np.random.default_rng(1).integers(0, 256, (2, SIZE, SIZE, 3)).astype("float32")
    backbones = [made.build(learning_rate=0.1, momentum=0.9)[1].get_layer("backbone") for _ in range(2)]
    np.testing.assert_array_equal(backbones[0](pixels), backbones[1](pixels))


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1])
def test_feature_maps_and_images_give_the_same_probabilities(
    make_setup: Callable[..., TrainingSetup], pattern: str, count: int
) -> None:
    made = make_setup(*blocks(count))
    trainable, whole = made.build(learning_rate=0.01, momentum=0.9)
    images = TransformedSplit([pattern], size=SIZE).batches(batch_size=4)
    for _ in range(2):  # before and after some updates
        probabilities = whole.predict(images, verbose=0)
        found = trainable.predict(made.validation.batches(batch_size=4), verbose=0)
        np.testing.assert_allclose(found, probabilities, atol=1e-3)
        trainable.fit(made.train.training_batches(batch_size=6, seed=0, epochs=range(3)), verbose=0)


@pytest.mark.parametrize(
    "overrides",
    [
        blocks(0, "false"),
        ("training.fine_tune=all",),
        ("training.fine_tune=staged",),
        (*blocks(0), "training.random_augmentation.rotate=true"),
    ],
)
def test_setup_trains_the_whole_model_on_images_without_cache(
    make_setup: Callable[..., TrainingSetup], overrides: tuple[str, ...], tmp_path: Path
) -> None:
    made = make_setup(*overrides)
    trainable, whole = made.build(learning_rate=0.1, momentum=0.9)
    assert trainable is whole
    assert isinstance(made.train, TransformedSplit)
    assert not (tmp_path / "maps").exists()


def no_blocks_left(_: pytest.MonkeyPatch) -> tuple[int, str]:
    return 2, "all 2 blocks of mobilenet are trainable"


def no_space_left(patch: pytest.MonkeyPatch) -> tuple[int, str]:
    patch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    return 0, "16 feature maps take 0.0 GB"


def no_range(patch: pytest.MonkeyPatch) -> tuple[int, str]:
    patch.setattr(feature_cache, "_MAX_ERROR", 0.0)
    return 0, "too large or too small for float16"


@pytest.mark.parametrize("situation", [no_blocks_left, no_space_left, no_range])
def test_setup_without_cache_logs_why_or_refuses_if_required(
    make_setup: Callable[..., TrainingSetup],
    situation: Callable[[pytest.MonkeyPatch], tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    count, reason = situation(monkeypatch)
    with caplog.at_level(logging.INFO, PROGRESS):
        made = make_setup(*blocks(count))
    assert isinstance(made.train, TransformedSplit)
    assert reason in caplog.text
    with pytest.raises(UserError, match=f"{reason}.*set training.feature_cache=auto"):
        make_setup(*blocks(count, "true"))


@pytest.mark.parametrize("name", ["macenko", "reinhard"])
def test_setup_fits_the_stain_reference_on_train_alone(
    tiny_mobilenet: None, write_transformed: Callable[..., str], tmp_path: Path, name: str
) -> None:
    images = np.random.default_rng(0).integers(20, 200, (8, SIZE, SIZE, 3), dtype="uint8")
    patterns = [write_transformed(part, [0, 1, 0, 1]) for part in (images[:4], images[4:], 255 - images[4:])]
    train, *others = (TransformedSplit([pattern], size=SIZE) for pattern in patterns)
    candidate = make_candidate(f"image.stain_normalisation={name}")
    expected = np.array(fit_stain_reference(name, train.batches(batch_size=4)))
    for validation in others:
        made = TrainingSetup(
            candidate, devices=DEVICES, train=train, validation=validation, cache_root=tmp_path / "maps"
        )
        _, whole = made.build(learning_rate=0.1, momentum=0.9)
        (reference,) = whole.get_layer("preprocessing").get_layer("stain_normalization").get_weights()
        np.testing.assert_allclose(reference, expected, rtol=1e-6)
        other = np.array(fit_stain_reference(name, validation.batches(batch_size=4)))
        assert not np.allclose(reference, other, 1e-3)
