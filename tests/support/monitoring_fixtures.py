"""Fixtures: synthetic request logs, predictions and training statistics."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv

import schemas
from knet.base import schema_names
from knet.data.schema_edits import read_schema
from knet.evaluation.predictions import write_predictions
from knet.serving.monitoring.read_log import MEASURED

TYPICAL = {  # mean and deviation of each scalar
    "image/mean_red": (180, 10), "image/mean_green": (150, 20), "image/mean_blue": (190, 15),
    "image/std_red": (30, 5), "image/std_green": (40, 6), "image/std_blue": (28, 4),
    "image/hematoxylin": (0.3, 0.06), "image/eosin": (0.1, 0.03),
    schema_names.TISSUE_FRACTION: (0.7, 0.1), schema_names.LAPLACIAN: (900, 150),
}  # fmt: skip


def scalars(count: int, *, seed: int = 0, **moved: float) -> pd.DataFrame:
    """Synthetic image scalars; `moved` shifts the mean of a scalar, by the end of its name, in deviations."""
    generator = np.random.default_rng(seed)
    columns: dict[str, Any] = {
        schema_names.WIDTH: np.full(count, 700),
        schema_names.HEIGHT: np.full(count, 460),
    }
    for name, (mean, deviation) in TYPICAL.items():
        deviations = moved.get(name.removeprefix("image/"), 0.0)
        values = generator.normal(mean + deviations * deviation, deviation, count)
        columns[name] = np.clip(values, 0, 1) if name == schema_names.TISSUE_FRACTION else values
    return pd.DataFrame(columns)


@pytest.fixture(scope="session")
def logged() -> Callable[..., pd.DataFrame]:
    """Rows as `read_log` returns them: ten patients, half of the images malignant, some flagged."""

    def make(
        count: int = 200,
        *,
        version: int = 7,
        flagged: float = 0.05,
        scores: tuple[float, float] = (0.2, 0.8),
        distance: float = 6.0,
        seed: int = 1,
        **moved: float,
    ) -> pd.DataFrame:
        generator = np.random.default_rng(seed)
        malignant = np.arange(count) % 2
        start = datetime(2024, 1, 30, 22, tzinfo=timezone.utc)
        frame = pd.DataFrame(
            {
                "time": [start + timedelta(minutes=number) for number in range(count)],
                "version": version,
                "image_sha256": [hashlib.sha256(bytes([n % 256])).hexdigest() for n in range(count)],
                "patient": [f"patient-{number % 10}" for number in range(count)],
                schema_names.PREDICTED_LABEL: np.where(malignant, "malignant", "benign"),
                schema_names.SCORE: np.clip(generator.normal(np.take(scores, malignant), 0.1), 0, 1),
                schema_names.DISTANCE: generator.gamma(9, distance / 9, count),
                schema_names.IN_DISTRIBUTION: np.arange(count) >= flagged * count,
                schema_names.PROBABILITIES: None,
                schema_names.POSITIVE_SCORE: None,
                "unusable": None,
            }
        )
        frame[schema_names.REASONS] = [
            [] if fine else ["blurred"] for fine in frame[schema_names.IN_DISTRIBUTION]
        ]
        return frame.join(scalars(count, seed=seed, **moved))

    return make


@pytest.fixture(scope="session")
def predictions() -> pd.DataFrame:
    """Predictions for the test images of ten patients."""
    generator = np.random.default_rng(2)
    label = np.arange(200) % 2
    return pd.DataFrame(
        {
            schema_names.CANDIDATE: "mobilenet",
            schema_names.IMAGE_PATH: [f"{number}.png" for number in range(200)],
            schema_names.PATIENT: [f"patient-{number % 10}" for number in range(200)],
            schema_names.SPLIT: "test",
            schema_names.LABEL: label,
            schema_names.SCORE: np.clip(generator.normal(np.take((0.2, 0.8), label), 0.1), 0, 1).astype(
                np.float32
            ),
            schema_names.THRESHOLD: np.float32(0.5),
            schema_names.IN_DISTRIBUTION: True,
            schema_names.DISTANCE: generator.gamma(9, 6 / 9, 200).astype(np.float32),
        }
    )


CLASSES_OF_THREE = ("a", "b", "c")


def with_three_classes(frame: pd.DataFrame, labels: Any, *, seed: int = 0) -> pd.DataFrame:
    """Rows of a log or of predictions, with outputs that are likeliest at the given labels.

    The positive group is b and c.
    """
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.full(3, 2.0), len(frame)) * 0.4
    probabilities[np.arange(len(frame)), labels] += 0.6
    outputs = {schema_names.SCORE: probabilities.max(axis=1)}
    if "version" in frame:
        outputs[schema_names.PREDICTED_LABEL] = np.take(CLASSES_OF_THREE, probabilities.argmax(axis=1))
        outputs[schema_names.POSITIVE_SCORE] = probabilities[:, 1:].sum(axis=1)
        outputs[schema_names.PROBABILITIES] = [
            dict(zip(CLASSES_OF_THREE, row, strict=True)) for row in probabilities.tolist()
        ]
    else:
        outputs[schema_names.LABEL] = labels
        outputs[schema_names.PROBABILITIES] = probabilities.tolist()
    return frame.assign(**outputs)


@pytest.fixture(scope="session")
def schema() -> Any:
    """The BreaKHis schema."""
    return read_schema(schemas.BREAKHIS)


@pytest.fixture(scope="session")
def training() -> Any:
    """Statistics of synthetic training images."""
    return tfdv.generate_statistics_from_dataframe(
        scalars(600).astype(dict.fromkeys(MEASURED[2:], np.float32))
    )


@pytest.fixture(scope="session")
def statistics_folder(training: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The training statistics as StatisticsGen writes them."""
    folder = tmp_path_factory.mktemp("statistics")
    for split in schema_names.SPLITS:
        (folder / f"Split-{split}").mkdir()
        (folder / f"Split-{split}" / "FeatureStats.pb").write_bytes(training.SerializeToString())
    return folder


@pytest.fixture(scope="session")
def predictions_file(predictions: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The predictions as a Parquet file."""
    file = tmp_path_factory.mktemp("predictions") / "mobilenet.parquet"
    write_predictions(predictions, file)
    return file
