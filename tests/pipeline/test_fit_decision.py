"""What is fitted to a model rejects images that are none, and refuses a model that gives none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from pipeline import features
from pipeline.candidate import Candidate
from pipeline.config import load_config
from pipeline.dataset import TransformedSplit
from pipeline.devices import prepare_devices
from pipeline.errors import UserError
from pipeline.fit_decision import fit_decision
from pipeline.learner import Learner
from pipeline.models.judge_images import judge_images
from pipeline.models.measure_pixels import laplacian_variance, tissue_fraction
from pipeline.models.model_outputs import model_outputs

SIZE = 32


@pytest.fixture(scope="module")
def learner(write_transformed: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Learner:
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
    candidate = Candidate.of(small, "mobilenet", synthetic_data=True)
    return Learner(
        candidate,
        devices=prepare_devices(candidate.devices),
        train=splits[0],
        validation=splits[1],
        cache_root=tmp_path_factory.mktemp("cache"),
    )


@pytest.fixture(scope="module")
def model(learner: Learner) -> Any:
    return learner.build(learning_rate=0.01, momentum=0.9)[1]


def test_images_of_no_tissue_are_rejected(learner: Learner, model: Any) -> None:
    decision = fit_decision(model, learner, batch_size=16)
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
    found = judge_images(
        outputs.vectors,
        tf.stack([tissue_fraction(one) for one in others]),
        tf.stack([laplacian_variance(one) for one in others]),
        gaussians=decision.gaussians,
        limits=decision.limits,
    )
    assert not found[features.IN_DISTRIBUTION].numpy().any()
    white, black, noise, gradient = ({*row} - {b""} for row in found[features.REASONS].numpy())
    assert {b"little tissue", b"blurred"} <= white
    assert b"blurred" in black and b"noisy" in noise and b"blurred" in gradient


def test_a_model_that_gives_nothing_is_refused(learner: Learner, model: Any) -> None:
    weights = model.get_weights()
    model.set_weights([np.full_like(values, np.nan) for values in weights])
    try:
        with pytest.raises(UserError, match="undefined values on train images; lower training.learning_rate"):
            fit_decision(model, learner, batch_size=16)
    finally:
        model.set_weights(weights)
