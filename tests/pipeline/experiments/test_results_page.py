"""The page says what the figures say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.experiments.arms import ARMS, PROBE, SETTINGS
from pipeline.experiments.results_page import write_results_page
from pipeline.experiments.summarise import METRICS


def results(difference: list[float]) -> dict[str, Any]:
    def arm(name: str) -> dict[str, Any]:
        chosen = {"C": 0.001} if name == PROBE.name else {"learning_rate": 0.01, "best_epoch": 4.0}
        return {
            "metrics": {metric: [0.75, 0.5, 0.875] for metric in METRICS},
            "difference": dict.fromkeys(("balanced_accuracy", "roc_auc"), difference),
            "folds": [{**chosen, "balanced_accuracy": value} for value in (0.5, 0.7)],
            "seconds": 12.0,
        }

    return {
        "images": 839,
        "patients": 44,
        "majority_share": 0.759,
        "majority": "malignant",
        "against": PROBE.name,
        "arms": {one.name: arm(one.name) for one in ARMS},
        "titles": {one.name: one.title for one in ARMS},
        "learning_rates": {one.name: one.learning_rates for one in ARMS if one.learning_rates},
        "folds": 2,
        "resamples": 2000,
        "source": "BreaKHis_v1",
        "synthetic": False,
        "fingerprint": "0123456789abcdef" * 4,
        "weights": "imagenet",
        "config": load_config(SETTINGS).model_dump(mode="json"),
        "machine": "2 cores of a machine",
        "commit": None,
    }


def write(tmp_path: Path, tree: dict[str, Any]) -> str:
    write_results_page(tmp_path / "results.md", tree)
    return (tmp_path / "results.md").read_text(encoding="utf-8")


def test_every_arm_has_a_row_with_intervals(tmp_path: Path) -> None:
    page = write(tmp_path, results([0.1, 0.05, 0.2]))
    for arm in ARMS:
        assert f"| {arm.title} | " + " | ".join(["0.750 [0.500, 0.875]"] * len(METRICS)) + " |\n" in page
        choice = "C 0.001" if arm is PROBE else "0.01, epoch 4"
        assert f"| {arm.title} | 0.500 ({choice}) | 0.700 ({choice}) | 0.600 ± 0.141 |\n" in page
    assert "75.9 % are\nmalignant" in page


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [
        ([0.1, 0.05, 0.2], "better"),
        ([-0.1, -0.2, -0.05], "worse"),
        ([0.1, -0.05, 0.2], "not told apart"),
    ],
)
def test_a_difference_counts_where_its_interval_leaves_out_zero(
    tmp_path: Path, difference: list[float], verdict: str
) -> None:
    page = write(tmp_path, results(difference))
    rows = [line for line in page.splitlines() if line.endswith(f"| {verdict} |")]
    assert len(rows) == len(ARMS) - 1


def test_synthetic_images_are_called_so(tmp_path: Path) -> None:
    assert "Synthetic" not in write(tmp_path, results([0.0, 0.0, 0.0]))
    assert "Synthetic" in write(tmp_path, {**results([0.0, 0.0, 0.0]), "synthetic": True})


def test_the_figures_stand_beside_it(tmp_path: Path) -> None:
    tree = results([0.0, 0.0, 0.0])
    write(tmp_path, tree)
    assert json.loads((tmp_path / "results.json").read_text("utf-8")) == json.loads(json.dumps(tree))
