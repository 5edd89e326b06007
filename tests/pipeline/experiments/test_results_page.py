"""The page of the cross-validation, and the metrics on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.config.load import load_config
from pipeline.experiments.cross_validation import PROBE, SETTINGS, VARIANTS, FoldResult, FoldTestSet
from pipeline.experiments.results_page import METRICS, published_config, summarize, write_results_page


def results(difference: list[float]) -> dict[str, Any]:
    def variant(name: str) -> dict[str, Any]:
        chosen = {"C": 0.001} if name == PROBE.name else {"learning_rate": 0.01, "best_epoch": 4.0}
        return {
            "metrics": {metric: [0.75, 0.5, 0.875] for metric in METRICS},
            "difference": dict.fromkeys(("balanced_accuracy", "roc_auc"), difference),
            "folds": [{**chosen, "balanced_accuracy": value} for value in (0.5, 0.7)],
            "misclassified": {"14-1": [3, 4]} if name == PROBE.name else {},
            "seconds": 12.0,
        }

    return {
        "images": 839,
        "patients": 44,
        "majority_share": 0.759,
        "majority": "malignant",
        "baseline": PROBE.name,
        "variants": {one.name: variant(one.name) for one in VARIANTS},
        "titles": {one.name: one.title for one in VARIANTS},
        "learning_rates": {one.name: one.learning_rates for one in VARIANTS if one.learning_rates},
        "folds": 2,
        "resamples": 2000,
        "source": "BreaKHis_v1",
        "synthetic": False,
        "fingerprint": "0123456789abcdef" * 4,
        "weights": "imagenet",
        "config": load_config(SETTINGS).model_dump(mode="json"),
        "host": "2 cores of a machine",
        "commit": None,
    }


def write(tmp_path: Path, tree: dict[str, Any]) -> str:
    write_results_page(tmp_path / "results.md", tree)
    return (tmp_path / "results.md").read_text(encoding="utf-8")


def test_page_has_a_row_with_intervals_for_each_variant(tmp_path: Path) -> None:
    page = write(tmp_path, results([0.1, 0.05, 0.2]))
    for variant in VARIANTS:
        assert f"| {variant.title} | " + " | ".join(["0.750 [0.500, 0.875]"] * len(METRICS)) + " |\n" in page
        choice = "C 0.001" if variant is PROBE else "0.01, epoch 4"
        assert f"| {variant.title} | 0.500 ({choice}) | 0.700 ({choice}) | 0.600 ± 0.141 |\n" in page
    assert "75.9 % of the images are malignant" in page


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        ([0.1, 0.05, 0.2], "better"),
        ([-0.1, -0.2, -0.05], "worse"),
        ([0.1, -0.05, 0.2], "no difference found"),
    ],
)
def test_page_names_differences_whose_interval_excludes_zero(
    tmp_path: Path, difference: list[float], verdict: str
) -> None:
    page = write(tmp_path, results(difference))
    rows = [line for line in page.splitlines() if line.endswith(f"| {verdict} |")]
    assert len(rows) == len(VARIANTS) - 1


def test_page_lists_misclassified_patients(tmp_path: Path) -> None:
    page = write(tmp_path, results([0.0, 0.0, 0.0]))
    cells = ["3 of 4" if variant is PROBE else "" for variant in VARIANTS]
    assert f"| 14-1 | {' | '.join(cells)} |\n" in page


def test_page_warns_of_synthetic_data(tmp_path: Path) -> None:
    assert "Synthetic" not in write(tmp_path, results([0.0, 0.0, 0.0]))
    assert "Synthetic" in write(tmp_path, {**results([0.0, 0.0, 0.0]), "synthetic": True})


def test_page_has_results_as_json_beside_it(tmp_path: Path) -> None:
    tree = results([0.0, 0.0, 0.0])
    write(tmp_path, tree)
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == json.loads(json.dumps(tree))


PATIENTS = {f"{patient}/{number}": f"patient {patient}" for patient in range(12) for number in range(4)}


def result(scores: list[float]) -> FoldResult:
    return FoldResult(chosen={"C": 1.0}, trials=(), scores=tuple(scores), seconds=2.0, device="CPU")


def fold(patients: list[int]) -> FoldTestSet:
    """Return a fold with a third of benign patients; `good` is right on all images, `coin` on every other."""
    paths = [f"{patient}/{number}" for patient in patients for number in range(4)]
    labels = [int(patient % 3 > 0) for patient in patients for _ in range(4)]
    good = [0.75 if label else 0.25 for label in labels]
    coin = [score if index % 2 else 1 - score for index, score in enumerate(good)]
    return FoldTestSet(tuple(paths), tuple(labels), {"good": result(good), "coin": result(coin)})


@pytest.fixture(scope="module")
def summary() -> dict:
    folds = [fold([0, 1, 2, 3, 4, 5]), fold([6, 7, 8, 9, 10, 11])]
    return summarize(folds, patients=PATIENTS, variants=["good", "coin"], baseline="coin")


def test_summarize_counts_images_of_all_folds(summary: dict) -> None:
    assert (summary["images"], summary["patients"]) == (48, 12)
    assert summary["majority_share"] == pytest.approx(2 / 3)
    assert summary["variants"]["good"]["seconds"] == 4.0


def test_summarize_has_metrics_with_intervals(summary: dict) -> None:
    good, coin = (summary["variants"][name]["metrics"] for name in ("good", "coin"))
    assert good["accuracy"] == good["patient_recognition_rate"] == [1.0, 1.0, 1.0]
    assert coin["balanced_accuracy"] == [0.5, 0.5, 0.5]
    assert coin["roc_auc"][0] == pytest.approx(0.5)


def test_summarize_lists_misclassified_patients() -> None:
    tested = fold([0, 1])
    scores = list(tested.results["good"].scores)
    scores[:3] = [0.75] * 3  # of the benign patient 0
    scores[4:6] = [0.25] * 2  # half of those of patient 1
    tested.results["poor"] = result(scores)
    variants = summarize([tested, fold([2, 3])], patients=PATIENTS, variants=["good"], baseline="good")[
        "variants"
    ]
    assert variants["good"]["misclassified"] == {}
    poor = summarize([tested], patients=PATIENTS, variants=["poor"], baseline="poor")["variants"]
    assert poor["poor"]["misclassified"] == {"patient 0": [3, 4]}


def test_summarize_pairs_differences(summary: dict) -> None:
    assert summary["variants"]["coin"]["difference"]["balanced_accuracy"] == [0.0, 0.0, 0.0]
    assert summary["variants"]["good"]["difference"]["balanced_accuracy"] == [0.5, 0.5, 0.5]


def test_summarize_has_choice_and_metrics_of_each_fold(summary: dict) -> None:
    folds = summary["variants"]["good"]["folds"]
    assert [one["C"] for one in folds] == [1.0, 1.0]
    assert np.allclose([one["balanced_accuracy"] for one in folds], 1.0)


def test_published_config_has_no_folders_and_servers() -> None:
    overrides = [
        "data.source=/home/me/images",
        "candidates={mobilenet: {weights: /home/me/weights.h5}}",
        "metadata.host=db.home",
    ]
    published = published_config(load_config("demo", overrides))
    assert "/home/me" not in json.dumps(published)
    assert "db.home" not in json.dumps(published)
    assert published["candidates"]["mobilenet"]["weights"] == "weights.h5"
    assert published["training"]["batch_size"] == load_config("demo").training.batch_size
