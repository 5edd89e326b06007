"""The error of a loss that is not finite names the images, but not hundreds of them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pipeline.candidate import Candidate
from pipeline.config import load_config
from pipeline.dataset import TransformedSplit
from pipeline.loss_error import loss_error

CANDIDATE = Candidate.of(
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
