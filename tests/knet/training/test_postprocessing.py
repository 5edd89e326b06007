"""Postprocessing: limits reject images unlike those of training; undefined outputs are refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from knet.base import schema_names
from knet.base.errors import UserError
from knet.models.export import check_images, model_outputs
from knet.models.images import Measurements, laplacian_variance, tissue_fraction
from knet.training.dataset import TransformedSplit
from knet.training.devices import prepare_devices
from knet.training.postprocessing import fit_postprocessing
from knet.training.training_setup import TrainingSetup
from pipeline.config.candidate import candidate_from_config
from pipeline.config.load import load_config

SIZE = 32
TINY = "candidates={mobilenet: {weights: none}}"


@pytest.fixture(scope="module")
def setup(
    tiny_mobilenet: None, write_transformed: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> TrainingSetup:
    """Images of patches of stained tissue and of glass, in random proportions."""
    rng = np.random.default_rng(0)
    stained = rng.random((60, 8, 8, 1)) < rng.uniform(0.3, 0.9, (60, 1, 1, 1))
    patches = np.where(stained, (150, 80, 160), (240, 235, 240)).repeat(4, axis=1).repeat(4, axis=2)
    pixels = np.clip(patches + rng.normal(0, 3, patches.shape), 0, 255).astype("uint8")
    labels = [index % 2 for index in range(len(pixels))]
    splits = [
        TransformedSplit([write_transformed(pixels[part], labels[part])], size=SIZE)
        for part in (slice(40), slice(40, None))
    ]
    small = load_config("demo", ["tuning=null", "image.size=32", "head.dense_units=8", TINY])
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


def test_limits_reject_images_without_tissue(setup: TrainingSetup, model: Any) -> None:
    postprocessing = fit_postprocessing(model, setup, batch_size=16)
    assert postprocessing.rejected["validation"] <= 0.05
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
        Measurements(
            rgb=tf.fill([4], True),
            side=tf.fill([4], SIZE),
            tissue=tf.stack([tissue_fraction(one) for one in others]),
            laplacian=tf.stack([laplacian_variance(one) for one in others]),
        ),
        gaussians=postprocessing.gaussians,
        limits=postprocessing.limits,
    )
    assert not found[schema_names.IN_DISTRIBUTION].numpy().any()
    white, black, noise, gradient = ({*row} - {b""} for row in found[schema_names.REASONS].numpy())
    assert {b"little tissue", b"blurred"} <= white
    assert b"blurred" in black and b"noisy" in noise and b"blurred" in gradient


def test_fit_postprocessing_refuses_undefined_outputs(setup: TrainingSetup, model: Any) -> None:
    weights = model.get_weights()
    model.set_weights([np.full_like(values, np.nan) for values in weights])
    try:
        with pytest.raises(UserError, match="undefined values on train images; lower training.learning_rate"):
            fit_postprocessing(model, setup, batch_size=16)
    finally:
        model.set_weights(weights)
