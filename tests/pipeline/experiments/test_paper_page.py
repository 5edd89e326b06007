"""The page of the paper's comparison, and its figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from browser import Browser

from knet.report import published
from pipeline.config.load import load_config
from pipeline.experiments.paper import SCALES
from pipeline.experiments.paper_page import draw_accuracies, draw_curves, write_paper_page

EVALUATIONS = {"2-epochs": "2 epochs", "5-epochs": "5 epochs", "early-stopping": "early stopping"}


def row(epoch: int) -> dict[str, float]:
    return {
        **{"epoch": epoch, "accuracy": 0.5 + 0.05 * epoch, "val_accuracy": 0.4 + 0.05 * epoch},
        **{"loss": 2 / epoch, "val_loss": 3 / epoch},
    }


def metrics(accuracy: float) -> dict[str, list[float]]:
    names = ("balanced_accuracy", "patient_recognition_rate", "roc_auc")
    return {"accuracy": [accuracy, 0.5, 0.75], **{name: [0.5625, 0.5, 0.75] for name in names}}


def results(models: Sequence[str] = ("vgg16", "resnet50", "resnet152"), **changes: Any) -> dict[str, Any]:
    schedules = SCALES["smoke"].schedules()[1:]
    return {
        "scale": "smoke",
        "synthetic": True,
        "source": "BreaKHis_v1",
        "fingerprint": "0123456789abcdef" * 4,
        "images": {"train": 60, "validation": 12, "test": 24},
        "patients": {"train": 14, "validation": 4, "test": 6},
        "split_notes": ("adenosis <none>",),
        "evaluations": EVALUATIONS,
        "drawn_epochs": (3, 5),
        "depths": [asdict(schedule) for schedule in schedules],
        "models": {
            name: {
                "backbone": name,
                "epochs": [row(epoch) for epoch in range(1, 6)],
                "best_epoch": 2,
                "stopped_after": 4,
                "metrics": {
                    one: metrics(0.6 + 0.01 * number) for number, one in enumerate(EVALUATIONS, start=1)
                },
                "depths": {schedule.name: metrics(0.7) for schedule in schedules},
                "majority_share": 0.686,
                "parameters": 1234567,
                "flops": 2 * 10**9,
                "backbone_parameters": 1234000,
                "backbone_flops": 2 * 10**8,
            }
            for name in models
        },
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
    assert page.count('<svg class="chart"') == 1 + 3 * 4  # accuracies, and four panels of each model
    assert "src=" not in page and "<script" not in page


def test_page_compares_with_the_numbers_of_the_paper(page: str) -> None:
    cells = page.replace("\n", "")
    ours = "".join(
        f'<td>{x}<small class="range">0.50 to 0.75</small></td>' for x in ("0.610", "0.620", "0.630")
    )
    assert f'<tr><th scope="row">vgg16</th>{ours}<td>no number in the text</td></tr>' in cells
    assert f'<tr><th scope="row">resnet152</th>{ours}<td>0.92</td></tr>' in cells
    assert '<tr><th scope="row">resnet152</th><td>4</td><td>74</td><td>2</td>' in cells
    assert '<tr><th scope="row">resnet50</th><td>4</td><td>no number in the text</td><td>2</td>' in cells


def test_page_states_the_protocol_of_the_paper(page: str) -> None:
    assert published.PROTOCOL in page
    assert "95 % interval of 0.58 to 0.99" in published.PROTOCOL


def test_page_numbers_the_panels_as_the_paper(page: str) -> None:
    for number, caption in ((9, "loss, 3 epochs"), (12, "accuracy, 5 epochs"), (20, "accuracy, 5 epochs")):
        assert f"Figure {number}: {caption}" in page
    assert page.count("No figure in the paper: ") == 4  # of ResNet50


def test_page_lists_parameters_and_flops(page: str) -> None:
    assert "<td>1,234,000</td><td>1,234,567</td>\n<td>0.200</td><td>2.000</td>" in page


def test_page_warns_of_small_scale_and_synthetic_data(page: str, tmp_path: Path) -> None:
    assert "Scale smoke" in page and "Synthetic data" in page and "adenosis &lt;none&gt;" in page
    tree = results(["vgg16"], scale="full", synthetic=False)
    whole = write_paper_page(tmp_path, tree).read_text(encoding="utf-8")
    assert "Scale smoke" not in whole and "Synthetic data" not in whole


def test_page_has_results_as_json_beside_it(page_file: Path) -> None:
    assert json.loads(page_file.with_suffix(".json").read_text("utf-8")) == json.loads(json.dumps(results()))


@pytest.mark.browser
def test_page_fits_phone_and_desk_light_and_dark(
    page_file: Path, debian_program: Callable[..., Path]
) -> None:
    with Browser(debian_program("chromium", package="chromium")) as browser:
        for width in (400, 1400):
            for dark in (False, True):
                browser.open(f"file://{page_file}", width=width, dark=dark)
                assert (browser.complaints, browser.faint) == ([], [])
                assert browser.needed_width <= width
        assert browser.requested == [f"file://{page_file}"]


def test_draw_accuracies_has_a_bar_for_each_evaluation() -> None:
    models = results(["mobilenet", "vgg16"])["models"]
    drawn = draw_accuracies(models, EVALUATIONS, majority=0.686)
    assert drawn.count("<rect") == 2 * 3 + 1  # VGG16 has no number in the paper
    assert drawn.count('class="mark"') == 1
    assert "mobilenet: 2 epochs 0.610, 5 epochs 0.620, early stopping 0.630, the paper 0.74" in drawn


def test_draw_curves_marks_early_stopping() -> None:
    tree = results(["mobilenet"], drawn_epochs=(3, 50))
    tree["models"]["mobilenet"]["epochs"] = [row(epoch) for epoch in range(1, 51)]
    short, _, loss, accuracy = (panel["chart"].lines for panel in draw_curves(tree, "mobilenet"))
    assert [line.name for line in short] == ["train", "validation"]
    assert [line.name for line in loss[2:]] == ["early stopping, 4", "the paper's early stopping, 43"]
    assert loss[2].points == [(4, 0), (4, 3.0)] and accuracy[3].points == [(43, 0), (43, 1.0)]
    assert accuracy[0].points == [(epoch, 0.5 + 0.05 * epoch) for epoch in range(1, 51)]
