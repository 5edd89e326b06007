"""The results of a cross-validation: metrics, corrected differences, page, chart and files."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from knet.base import schema_names
from pipeline.config.load import load_config
from pipeline.experiments.external import ExternalImages
from pipeline.experiments.folds import CrossValidation
from pipeline.experiments.folds_page import COMPARED, METRICS, render_page, summarize, write_folds_page

CONFIG = load_config(
    "demo", ["candidates={good: {backbone: vgg16, head: {variant: none}}, coin: {backbone: vgg16}}"]
)


def rows(name: str, seed: int, wrong: set[str]) -> pd.DataFrame:
    """Return a candidate's predictions for 24 patients of two folds, a third of them benign.

    Args:
        name: `good` is right on all images, `coin` on every other.
        seed: of the repeat; the folds of others are exchanged.
        wrong: patients of whom three of four images are misclassified.
    """
    table = []
    for patient in range(24):
        for number in range(4):
            label = int(patient % 3 > 0)
            missed = number % 2 == 0 if name != "good" else False
            if f"p{patient}" in wrong:
                missed = number < 3
            table.append(
                {
                    schema_names.CANDIDATE: name,
                    schema_names.IMAGE_PATH: f"{patient}/{number}",
                    schema_names.PATIENT: f"p{patient}",
                    schema_names.SPLIT: schema_names.TEST,
                    schema_names.LABEL: label,
                    schema_names.SCORE: 0.75 if label != missed else 0.25,
                    # Each fold has its own threshold.
                    schema_names.THRESHOLD: 0.5 if patient < 12 else 0.6,
                    "seed": seed,
                    "fold": 1 + ((patient < 12) == (seed == 0)),
                }
            )
    return pd.DataFrame(table)


def experiment(
    names: tuple[str, ...] = ("good", "coin"),
    *,
    seeds: tuple[int, ...] = (0,),
    wrong: dict[str, set[str]] | None = None,
    synthetic: bool = False,
) -> CrossValidation:
    row = {"learning_rate": 0.01, "epochs": 5, "best_epoch": 4, "seconds": 30.0, "cached": False}
    return CrossValidation(
        CONFIG,
        cast(Any, SimpleNamespace(source=Path("BreaKHis_v1"), synthetic=synthetic, fingerprint="0123" * 16)),
        folds=2,
        seeds=seeds,
        predictions=pd.concat([rows(n, seed, (wrong or {}).get(n, set())) for n in names for seed in seeds]),
        trainings=[
            {"candidate": name, **row, "seed": seed, "fold": fold}
            for seed in seeds
            for fold in (1, 2)
            for name in names
        ],
    )


def test_summarize_has_metrics_with_intervals_and_spread() -> None:
    results = summarize(experiment(), baseline=None)
    assert (results["images"], results["patients"], results["majority"]) == (96, 24, "malignant")
    assert results["majority_share"] == pytest.approx(2 / 3)
    good, coin = results["candidates"]["good"], results["candidates"]["coin"]
    assert good["metrics"]["accuracy"] == [1.0, 1.0, 1.0]
    assert good["spread"]["balanced_accuracy"] == [1.0, 0.0]
    assert coin["metrics"]["balanced_accuracy"] == [0.5, 0.5, 0.5]
    assert [fold["fold"] for fold in coin["folds"]] == [1, 2]


def test_summarize_averages_over_seeds_with_the_same_resamples() -> None:
    patients = {"p0", "p1"}
    once = summarize(experiment(wrong={"good": patients}), baseline=None)["candidates"]["good"]
    twice = summarize(experiment(wrong={"good": patients}, seeds=(0, 1)), baseline=None)["candidates"]["good"]
    assert twice["metrics"] == once["metrics"]
    assert len(twice["folds"]) == 4
    values = [fold["accuracy"] for fold in twice["folds"]]
    assert twice["spread"]["accuracy"] == pytest.approx([np.mean(values), np.std(values, ddof=1)])
    assert twice["misclassified"] == {"p0": [6, 8], "p1": [6, 8]}


def test_summarize_compares_each_with_each_or_with_a_baseline() -> None:
    three = experiment(("good", "coin", "other"))
    pairs = [(row["first"], row["second"]) for row in summarize(three, baseline=None)["differences"]]
    assert pairs[:: len(COMPARED)] == [("good", "coin"), ("good", "other"), ("coin", "other")]
    against = summarize(three, baseline="coin")["differences"]
    assert {row["second"] for row in against} == {"coin"}
    better = next(row for row in against if row["first"] == "good" and row["metric"] == "balanced_accuracy")
    assert better["difference"] == [0.5, 0.5, 0.5]
    assert better["adjusted_p_value"] == pytest.approx(4 * better["p_value"])
    same = next(row for row in against if row["first"] == "other")
    assert same["p_value"] == same["adjusted_p_value"] == 1.0


def test_page_names_the_better_candidate_after_the_correction() -> None:
    results = summarize(experiment(), baseline=None)
    page = render_page(results)
    assert (
        "| good − coin | balanced accuracy | +0.500 [+0.500, +0.500] | < 0.001 | < 0.001 | good is better |"
        in page
    )
    for row in results["differences"]:
        row["adjusted_p_value"] = 0.06
    assert "is better |" not in render_page(results)
    assert render_page(results).count("no difference found") == len(COMPARED)


def test_page_has_a_row_for_each_candidate() -> None:
    page = render_page(summarize(experiment(wrong={"good": {"p4"}}, synthetic=True), baseline="coin"))
    assert page.count("\n| good | ") == 4  # spread, intervals, folds, settings
    assert f"| good | {' | '.join(['1.000 ± 0.000'] * 2)}" not in page  # p4 is misclassified
    assert "| p4 | 3 of 4 |  |" in page
    assert "| good | backbone: vgg16, weights: imagenet, head: {variant: none} |" in page
    assert "(0.01, epoch 4)" in page
    assert "Synthetic images" in page


def test_page_of_real_images_has_no_warning() -> None:
    assert "Synthetic images" not in render_page(summarize(experiment(), baseline=None))


def test_page_of_one_candidate_has_no_differences() -> None:
    page = render_page(summarize(experiment(("good",)), baseline=None))
    assert "## Differences" not in page and "## By fold" in page


def test_written_files_hold_the_results(tmp_path: Path) -> None:
    tested = experiment()
    page = write_folds_page(tmp_path, tested, baseline=None)
    results = json.loads((tmp_path / "folds.json").read_text("utf-8"))
    assert page.read_text("utf-8") == render_page(results)
    assert set(results["candidates"]["good"]["metrics"]) == set(METRICS)
    chart = (tmp_path / "folds.svg").read_bytes()
    assert chart.startswith(b"<?xml")
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    assert len(predictions) == 2 * 96 and {"seed", "fold", "score"} <= set(predictions.columns)
    write_folds_page(tmp_path, tested, baseline=None)
    assert (tmp_path / "folds.svg").read_bytes() == chart


def test_page_has_the_metrics_of_external_images() -> None:
    frames = [rows(name, 0, set()).assign(models=1) for name in ("good", "coin")]
    frame = pd.concat(frames)
    frame.loc[frame[schema_names.PATIENT] != "p3", "models"] = 2
    images = ExternalImages((), cast(Any, None), "scanner", synthetic=True, unusable=1)
    tested = replace(experiment(), external=images, external_predictions=frame)
    results = summarize(tested, baseline="coin")
    external = results["external"]
    assert (external["images"], external["patients"], external["known_patients"]) == (96, 24, 1)
    assert external["candidates"]["good"]["metrics"]["accuracy"] == [1.0, 1.0, 1.0]
    assert external["differences"] == results["differences"]  # of the same predictions
    page = render_page(results)
    section = page.partition("## External images")[2].partition("## By fold")[0]
    assert "**Synthetic images" in section
    assert "`scanner`: 96 images of 24 patients, which no model was trained on" in section
    assert "Of the patients 1 is in the folds too" in section and "1 file could not be used" in section
    assert "| good | 1.000 [1.000, 1.000]" in section and "| good − coin | balanced accuracy |" in section
    assert "## External images" not in render_page(summarize(experiment(), baseline=None))


def test_metrics_of_external_images_of_one_class_may_be_undefined() -> None:
    frame = rows("good", 0, set()).assign(models=2)
    images = ExternalImages((), cast(Any, None), "malignant", synthetic=False, unusable=0)
    malignant = frame[frame[schema_names.LABEL] == 1]
    tested = replace(experiment(("good",)), external=images, external_predictions=malignant)
    results = summarize(tested, baseline=None)
    metrics = results["external"]["candidates"]["good"]["metrics"]
    assert metrics["accuracy"] == [1.0, 1.0, 1.0] and metrics["roc_auc"] == [None, None, None]
    assert "undefined" in render_page(results).partition("## External images")[2]
