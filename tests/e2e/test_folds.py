"""A cross-validation through the graph: its results, and what a second start takes from the cache."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

pytestmark = pytest.mark.e2e

_COMMAND = "experiment folds --folds 2"
_SETTINGS = ("tuning=null", "candidates={mobilenet: {weights: none, alpha: 0.25}}")


@pytest.fixture(scope="module")
def knet(make_knet: Callable[..., Any]) -> Any:
    return make_knet()


@pytest.fixture(scope="module")
def finished(knet: Any) -> Any:
    return knet.run(*_SETTINGS, command=_COMMAND)


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


def test_folds_started_again_are_cached_and_equal(knet: Any, finished: Any) -> None:
    files = {name: (finished.output / "folds" / name).read_bytes() for name in ("folds.md", "folds.svg")}
    again = knet.run(*_SETTINGS, command=_COMMAND)
    assert again.code == 0, again.stdout + again.stderr
    lines = [line for line in again.stdout.splitlines() if line.startswith("Trainer-mobilenet ")]
    assert lines and all(line.split()[1] == "cached" for line in lines)
    assert {name: (finished.output / "folds" / name).read_bytes() for name in files} == files
