"""The linear probe is fitted to training images, and chooses on validation images only."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from knet.models.backbones import BACKBONES
from knet.training.dataset import TransformedSplit
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config
from pipeline.experiments.linear_probe import LabeledEmbeddings, linear_probe, train_probe


def drawn(count: int, *, seed: int, apart: float) -> LabeledEmbeddings:
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    return rng.normal(apart * labels[:, None], 1, (count, 8)), labels


def test_linear_probe_separates_distant_classes() -> None:
    embeddings, labels = drawn(40, seed=2, apart=3)
    result = linear_probe(
        train=drawn(60, seed=0, apart=3), validation=drawn(20, seed=1, apart=3), test=embeddings
    )
    assert (result.probabilities.argmax(axis=1) == labels).all()


@pytest.mark.parametrize("apart", [0.0, 0.5, 3.0])
def test_linear_probe_chooses_the_lowest_validation_loss(apart: float) -> None:
    train, validation = drawn(60, seed=0, apart=apart), drawn(20, seed=1, apart=apart)
    result = linear_probe(train=train, validation=validation, test=validation[0], c_grid=(1e-4, 1e-2, 1e2))
    assert list(result.losses) == [1e-4, 1e-2, 1e2]
    assert result.c == min(result.losses, key=lambda c: result.losses[c])
    right = result.probabilities[np.arange(20), validation[1]]
    assert result.losses[result.c] == pytest.approx(-np.log(right).mean())


def test_linear_probe_regularizes_noise_more() -> None:
    chosen = {
        apart: linear_probe(
            train=drawn(60, seed=0, apart=apart),
            validation=drawn(200, seed=1, apart=apart),
            test=np.zeros((1, 8)),
        ).c
        for apart in (0.0, 3.0)
    }
    assert chosen[0.0] < chosen[3.0]


def test_linear_probe_scores_test_images_independently() -> None:
    train, validation = drawn(60, seed=0, apart=1), drawn(20, seed=1, apart=1)
    embeddings, _ = drawn(10, seed=2, apart=1)
    whole = linear_probe(train=train, validation=validation, test=embeddings).probabilities
    alone = linear_probe(train=train, validation=validation, test=embeddings[3:4]).probabilities
    assert alone == pytest.approx(whole[3:4])


def test_linear_probe_predicts_three_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    embeddings = rng.normal(4 * np.eye(8)[labels], 1)
    result = linear_probe(train=(embeddings, labels), validation=(embeddings, labels), test=embeddings)
    assert result.probabilities.shape == (60, 3)
    assert (result.probabilities.argmax(axis=1) == labels).mean() > 0.9


@pytest.mark.slow
def test_train_probe_ignores_test_labels(
    tiny_mobilenet: None, write_transformed: Callable[..., str], tmp_path: Path
) -> None:
    weights = tmp_path / "mobilenet.weights.h5"
    keras.utils.set_random_seed(0)
    BACKBONES["mobilenet"].build(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(
        weights
    )
    rng = np.random.default_rng(0)
    labels = [index % 2 for index in range(12)]
    pixels = np.stack([rng.integers(0, 256 - 128 * label, (32, 32, 3), dtype="uint8") for label in labels])
    config = load_config(
        "demo",
        ["tuning=null", "image.size=32", f"candidates={{mobilenet: {{weights: {weights}, alpha: null}}}}"],
    )
    candidate = candidate_from_config(config, "mobilenet", synthetic_data=True)

    def split(labels: list[int]) -> TransformedSplit:
        return TransformedSplit([write_transformed(pixels, labels)], size=32)

    files = [tf.io.encode_png(image).numpy() for image in pixels]
    results = [
        train_probe(
            candidate,
            train=split(labels),
            validation=split(labels),
            test=split(test),
            cache_root=tmp_path,
            external=[files[:8], files[8:]],
        )
        for test in (labels, [1 - label for label in labels])
    ]
    # The same images as files have the same predictions.
    assert results[0].external is not None
    np.testing.assert_allclose(results[0].external, results[0].probabilities, atol=1e-6)
    assert results[0].c == results[1].c
    assert (results[0].probabilities == results[1].probabilities).all()
    assert results[0].probabilities.shape == (12, 2)
