"""A cross-validation through the graph: its results, and what a second start takes from the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from knet.data.sample_data import write_sample_data

pytestmark = pytest.mark.e2e

_SETTINGS = ("tuning=null", "candidates={mobilenet: {weights: none, alpha: 0.25}}")


@pytest.fixture(scope="module")
def knet(make_knet: Callable[..., Any]) -> Any:
    return make_knet()


@pytest.fixture(scope="module")
def run_folds(knet: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Run the cross-validation, which is also tested on its own images as external ones."""
    images = write_sample_data(tmp_path_factory.mktemp("images"), patients=12, width=64, height=48)
    return lambda: knet.run(
        *_SETTINGS, data=images, command=f"experiment folds --folds 2 --external {images}"
    )


@pytest.fixture(scope="module")
def finished(run_folds: Callable[[], Any]) -> Any:
    return run_folds()


def test_folds_test_every_patient_once(finished: Any) -> None:
    assert finished.code == 0, finished.stdout + finished.stderr
    predictions = pd.read_parquet(finished.output / "folds" / "predictions.parquet")
    assert predictions["image"].is_unique and predictions["patient"].nunique() == 12
    assert (predictions.groupby("patient")["fold"].nunique() == 1).all()
    results = json.loads((finished.output / "folds" / "folds.json").read_text("utf-8"))
    assert results["patients"] == 12 and results["images"] == len(predictions)
    assert [fold["fold"] for fold in results["candidates"]["mobilenet"]["folds"]] == [1, 2]
    assert "Synthetic images" in (finished.output / "folds" / "folds.md").read_text("utf-8")
    assert finished.connections == []


def test_external_predictions_equal_those_of_the_evaluators(finished: Any) -> None:
    """The images of the folds as external ones: the served models and the Evaluators agree."""
    folder = finished.output / "folds"
    tested, external = (
        pd.read_parquet(folder / name).sort_values("image", ignore_index=True)
        for name in ("predictions.parquet", "external.parquet")
    )
    assert (tested["image"] == external["image"]).all() and (external["models"] == 1).all()
    np.testing.assert_allclose(external["score"], tested["score"], atol=1e-5)
    assert "12 are in the folds too" in (folder / "folds.md").read_text("utf-8")


def test_folds_started_again_are_cached_and_equal(run_folds: Callable[[], Any], finished: Any) -> None:
    files = {name: (finished.output / "folds" / name).read_bytes() for name in ("folds.md", "folds.svg")}
    again = run_folds()
    assert again.code == 0, again.stdout + again.stderr
    lines = [line for line in again.stdout.splitlines() if line.startswith("Trainer-mobilenet ")]
    assert lines and all(line.split()[1] == "cached" for line in lines)
    assert {name: (finished.output / "folds" / name).read_bytes() for name in files} == files
