"""The page draws what the trainings came to, with the paper's numbers beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline.config import load_config
from pipeline.experiments.paper_page import write_paper_page
from pipeline.experiments.schedules import SCALES

ROWS = [{"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "loss": 0.7, "val_loss": 0.7}]


def results(**changes: Any) -> dict[str, Any]:
    run = {
        "epochs": ROWS * 3,
        "best_epoch": 2,
        "metrics": {
            name: [0.625, 0.5, 0.75]
            for name in ("accuracy", "balanced_accuracy", "patient_recognition_rate", "roc_auc")
        },
        "majority_share": 0.686,
        "parameters": 1234567,
        "flops": 2 * 10**9,
        "backbone_parameters": 1234000,
        "backbone_flops": 2 * 10**8,
    }
    schedules = SCALES["smoke"].schedules()
    return {
        "scale": "smoke",
        "synthetic": True,
        "source": "BreaKHis_v1",
        "fingerprint": "0123456789abcdef" * 4,
        "images": {"train": 60, "validation": 12, "test": 24},
        "patients": {"train": 14, "validation": 4, "test": 6},
        "split_notes": ("adenosis <none>",),
        "schedules": [asdict(schedule) for schedule in schedules],
        "runs": {schedule.name: {"vgg16": run, "resnet152": run} for schedule in schedules},
        "config": load_config("demo").model_dump(mode="json"),
        "machine": "2 cores of a machine",
        "commit": None,
        **changes,
    }


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_paper_page(tmp_path_factory.mktemp("paper"), results()).read_text(encoding="utf-8")


def test_figures_are_in_the_page_itself(page: str) -> None:
    assert page.count("<svg") == 3  # accuracies, and curves of two models
    assert page.count("<!DOCTYPE") + page.count("<!doctype") == 1
    assert "src=" not in page and "<script" not in page


def test_the_paper_s_numbers_stand_beside_ours(page: str) -> None:
    ours = "<td>0.625 [0.500, 0.750]</td>" * 5
    assert f"<tr><td>vgg16</td>{ours}\n<td>no number</td></tr>" in page
    assert f"<tr><td>resnet152</td>{ours}\n<td>0.92</td></tr>" in page
    assert "<tr><td>resnet152</td><td>3</td>\n<td>74</td><td>2</td>" in page


def test_networks_have_parameters_and_flops(page: str) -> None:
    assert "<td>1,234,000</td><td>1,234,567</td>\n<td>0.200</td><td>2.000</td>" in page


def test_a_small_scale_and_synthetic_images_are_called_so(page: str, tmp_path: Path) -> None:
    assert "Scale smoke" in page and "Synthetic data" in page and "adenosis &lt;none&gt;" in page
    whole = write_paper_page(tmp_path, results(scale="full", synthetic=False)).read_text(encoding="utf-8")
    assert "Scale smoke" not in whole and "Synthetic data" not in whole


def test_the_figures_stand_beside_it(tmp_path: Path) -> None:
    tree = results()
    page = write_paper_page(tmp_path, tree)
    assert json.loads(page.with_suffix(".json").read_text("utf-8")) == json.loads(json.dumps(tree))
