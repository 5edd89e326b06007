"""The measurement of a leak: overrides of each unit, paired differences, and the page."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from rich.console import Console

from knet.base import schema_names
from knet.base.split_units import SplitUnit
from pipeline.config.config import Config
from pipeline.config.load import load_config
from pipeline.experiments import leak
from pipeline.experiments.folds import CrossValidation
from pipeline.experiments.leak import leaked_share, measure_leak, summarize_leak, write_leak_page

DATA = cast(Any, SimpleNamespace(source=Path("BreaKHis_v1"), synthetic=False, fingerprint="0123" * 16))


def experiment(*, by_image: bool) -> CrossValidation:
    """Two images of each of eight patients; by patient the second image is misclassified."""
    table = [
        {
            schema_names.CANDIDATE: "vgg16",
            schema_names.IMAGE_PATH: f"{patient}/{number}",
            schema_names.PATIENT: f"p{patient}",
            schema_names.SPLIT: schema_names.TEST,
            schema_names.LABEL: patient % 2,
            schema_names.SCORE: 0.75 if bool(patient % 2) == (by_image or number == 0) else 0.25,
            schema_names.THRESHOLD: 0.5,
            "seed": 0,
            "fold": 1 + (number if by_image and patient < 6 else patient % 4 // 2),
        }
        for patient in range(8)
        for number in range(2)
    ]
    return CrossValidation(
        load_config("demo"),
        DATA,
        2,
        (0,),
        pd.DataFrame(table),
        [{"candidate": "vgg16", "seed": 0, "fold": 1}],
    )


EXPERIMENTS: dict[SplitUnit, CrossValidation] = {
    "image": experiment(by_image=True),
    "patient": experiment(by_image=False),
}


def test_leaked_share_counts_images_of_patients_in_several_folds() -> None:
    assert leaked_share(EXPERIMENTS["patient"].predictions) == 0
    assert leaked_share(EXPERIMENTS["image"].predictions) == 0.75


def test_summarize_leak_has_paired_differences() -> None:
    results = summarize_leak(EXPERIMENTS)
    by_unit = results["candidates"]["vgg16"]
    assert (results["images"], results["patients"], results["units"]) == (16, 8, ["image", "patient"])
    assert by_unit["image"]["accuracy"] == {"estimate": [1.0] * 3, "difference": [0.5] * 3}
    assert by_unit["patient"]["accuracy"] == {"estimate": [0.5] * 3, "difference": [0.0] * 3}


def test_leak_page_warns_and_has_a_column_for_each_unit(tmp_path: Path) -> None:
    page = write_leak_page(tmp_path, EXPERIMENTS).read_text("utf-8")
    assert "[!CAUTION]" in page
    assert "## Accuracy\n\n| candidate | by image | by patient | image − patient |" in page
    assert "| vgg16 | 1.000 [1.000, 1.000] | 0.500 [0.500, 0.500] | +0.500 [+0.500, +0.500] |" in page
    assert "| 75.0 % | 0.0 % |" in page
    assert json.loads((tmp_path / "leak.json").read_text("utf-8")) == summarize_leak(EXPERIMENTS)


def test_measure_leak_splits_by_each_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(overrides: Sequence[str]) -> Config:
        return load_config("demo", overrides)

    def cross_validate(load: Any, data: Any, **options: Any) -> tuple[str, int, Any]:
        config = load(["seed=7"])
        return config.data.split.unit, config.seed, options["folds"]

    monkeypatch.setattr(leak, "cross_validate", cross_validate)
    measured = measure_leak(load, DATA, folds=3, repeats=1, probe=None, console=Console(file=io.StringIO()))
    assert measured == {unit: (unit, 7, 3) for unit in ("image", "folder", "patient")}
