"""Thresholds of drift, on real images."""

from __future__ import annotations

import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow_data_validation as tfdv
from numpy.typing import NDArray
from PIL import Image, ImageFilter

import schemas
from knet.base.image_scalars import STAINS, image_scalars
from knet.data.breakhis import parse_path
from knet.data.schema_edits import read_schema
from knet.data.validation import find_drift, measure_drift

pytestmark = pytest.mark.slow

Pixels = NDArray[np.uint8]
SCHEMA = read_schema(schemas.BREAKHIS)


def unchanged(pixels: Pixels) -> Pixels:
    return pixels


def stained_paler(pixels: Pixels) -> Pixels:
    """With 0.6 of the haematoxylin."""
    vectors = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    amounts = -np.log10(np.maximum(pixels, 1) / 255) @ np.linalg.inv(vectors)
    return np.clip(np.round(255 * 10 ** -(amounts * (0.6, 1, 1) @ vectors)), 0, 255).astype(np.uint8)


def brighter(pixels: Pixels) -> Pixels:
    return np.clip(np.round(pixels * 1.1), 0, 255).astype(np.uint8)


def blurred(pixels: Pixels) -> Pixels:
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)))


@pytest.fixture(scope="module")
def scalars_of(shared_data: Path) -> Callable[..., pd.DataFrame]:
    """Computes the scalars of every second image at 200X, changed in some way, with class and patient."""
    root = shared_data / "breakhis_200X_224" / "BreaKHis_v1" / "histology_slides" / "breast"
    paths = sorted(root.rglob("*.png"))[::2]

    def row(path: Path, change: Callable[[Pixels], Pixels]) -> dict[str, Any]:
        image = parse_path(path.relative_to(root).as_posix())
        pixels = np.asarray(Image.open(path).convert("RGB"))
        return {"label": image.label, "patient": image.patient, **image_scalars(change(pixels))}

    def make(change: Callable[[Pixels], Pixels] = unchanged) -> pd.DataFrame:
        with ThreadPoolExecutor(2) as pool:
            return pd.DataFrame(pool.map(lambda path: row(path, change), paths))

    return make


def drifted(now: pd.DataFrame, before: pd.DataFrame) -> set[str]:
    def statistics(frame: pd.DataFrame) -> Any:
        return tfdv.generate_statistics_from_dataframe(frame.drop(columns=["label", "patient"]))

    distances = measure_drift(statistics(now), previous=statistics(before), schema=SCHEMA)
    return {finding.feature for finding in find_drift(distances, split="train")}


def test_thresholds_accept_two_halves_of_the_patients(scalars_of: Callable[..., pd.DataFrame]) -> None:
    scalars = scalars_of()
    for seed in range(10):
        half: set[str] = set()
        for _, of_class in scalars.groupby("label"):
            patients = sorted(of_class["patient"].unique())
            half |= set(random.Random(seed).sample(patients, len(patients) // 2))
        inside = scalars["patient"].isin(half)
        assert drifted(scalars[inside], scalars[~inside]) == set()


@pytest.mark.parametrize(
    ("change", "among"),
    [(stained_paler, "image/hematoxylin"), (brighter, "image/mean_red"), (blurred, "image/laplacian")],
)
def test_thresholds_refuse_the_same_images_changed(
    scalars_of: Callable[..., pd.DataFrame], change: Callable[[Pixels], Pixels], among: str
) -> None:
    assert among in drifted(scalars_of(change), scalars_of())
