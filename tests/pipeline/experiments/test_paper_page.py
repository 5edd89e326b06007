"""The page of the paper's comparison, and its figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.load import load_config
from pipeline.experiments.paper import SCALES
from pipeline.experiments.paper_page import draw_accuracies, draw_curves, write_paper_page

ROWS = [{"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.5, "loss": 0.7, "val_loss": 0.7}]


def results(models: Sequence[str] = ("vgg16", "resnet152"), **changes: Any) -> dict[str, Any]:
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
        "runs": {schedule.name: dict.fromkeys(models, run) for schedule in schedules},
        "config": load_config("demo").model_dump(mode="json"),
        "host": "2 cores of a machine",
        "commit": None,
        **changes,
    }


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_paper_page(tmp_path_factory.mktemp("paper"), results())


@pytest.fixture(scope="module")
def page(page_file: Path) -> str:
    return page_file.read_text(encoding="utf-8")


def test_page_embeds_its_figures(page: str) -> None:
    assert page.count("<svg") == 3  # accuracies, and curves of two models
    assert page.count("<!DOCTYPE") + page.count("<!doctype") == 1
    assert "src=" not in page and "<script" not in page


def test_page_compares_with_the_numbers_of_the_paper(page: str) -> None:
    ours = "<td>0.625 [0.500, 0.750]</td>" * 5
    assert f"<tr><td>vgg16</td>{ours}\n<td>no number</td></tr>" in page
    assert f"<tr><td>resnet152</td>{ours}\n<td>0.92</td></tr>" in page
    assert "<tr><td>resnet152</td><td>3</td>\n<td>74</td><td>2</td>" in page


def test_page_lists_parameters_and_flops(page: str) -> None:
    assert "<td>1,234,000</td><td>1,234,567</td>\n<td>0.200</td><td>2.000</td>" in page


def test_page_warns_of_small_scale_and_synthetic_data(page: str, tmp_path: Path) -> None:
    assert "Scale smoke" in page and "Synthetic data" in page and "adenosis &lt;none&gt;" in page
    tree = results(["vgg16"], scale="full", synthetic=False)
    whole = write_paper_page(tmp_path, tree).read_text(encoding="utf-8")
    assert "Scale smoke" not in whole and "Synthetic data" not in whole


def test_page_has_results_as_json_beside_it(page_file: Path) -> None:
    assert json.loads(page_file.with_suffix(".json").read_text("utf-8")) == json.loads(json.dumps(results()))


def test_draw_accuracies_has_a_bar_for_each_schedule() -> None:
    accuracies = {
        "1 epoch": {"vgg16": [0.5, 0.25, 0.625], "resnet152": [0.75, 0.5, 0.875]},
        "2 epochs": {"vgg16": [0.625, 0.5, 0.75], "resnet152": [0.875, 0.75, 1.0]},
    }
    figure: Any = draw_accuracies(accuracies, paper={"resnet152": 0.92}, majority=0.7)
    (axes,) = figure.axes
    heights = [bar.get_height() for bars in axes.containers if hasattr(bars, "patches") for bar in bars]
    assert heights == [0.5, 0.75, 0.625, 0.875]
    errors = [segment for lines in axes.collections for segment in lines.get_segments()]
    assert [(s[0][1], s[1][1]) for s in errors] == [(0.25, 0.625), (0.5, 0.875), (0.5, 0.75), (0.75, 1.0)]
    lines = {line.get_label(): line.get_ydata()[0] for line in axes.lines}
    assert lines["the paper"] == 0.92
    assert lines["majority class"] == 0.7
    assert [label.get_text() for label in axes.get_xticklabels()] == ["vgg16", "resnet152"]
    assert axes.get_ylim() == pytest.approx((0, 1.05))


CURVE_ROWS = [
    {"epoch": 1, "accuracy": 0.5, "val_accuracy": 0.25, "loss": 0.75, "val_loss": 1.5},
    {"epoch": 2, "accuracy": 0.75, "val_accuracy": 0.5, "loss": 0.5, "val_loss": 1.25},
]


def test_draw_curves_has_a_column_for_each_schedule() -> None:
    figure: Any = draw_curves("mobilenet", {"1 epoch": CURVE_ROWS[:1], "2 epochs": CURVE_ROWS})
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["1 epoch", "2 epochs", "", ""]
    _, accuracy, _, loss = figure.axes
    for axes, metric in ((accuracy, "accuracy"), (loss, "loss")):
        drawn = {line.get_label(): (list(line.get_xdata()), list(line.get_ydata())) for line in axes.lines}
        assert drawn == {
            "train": ([1, 2], [row[metric] for row in CURVE_ROWS]),
            "validation": ([1, 2], [row[f"val_{metric}"] for row in CURVE_ROWS]),
        }
