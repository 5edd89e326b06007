"""Three classes with a positive group in the whole pipeline, to a served model."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from knet.client import Client
from knet.serving.dev_server.server import DevServer

pytestmark = pytest.mark.e2e

_CLASSES = ("fat", "stroma", "tumor")
_COLOURS = {"fat": (230, 225, 235), "stroma": (230, 150, 190), "tumor": (120, 70, 150)}
_PATIENTS = 12


def _write_images(folder: Path) -> Path:
    """Write synthetic images of three colours and their manifest; some patients have all classes."""
    generator = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "label", "group"])
        for patient in range(_PATIENTS):
            for label in _CLASSES if patient % 4 == 0 else (_CLASSES[patient % 3],):
                for number in range(3):
                    name = f"{patient}-{label}-{number}.png"
                    pixels = generator.normal(_COLOURS[label], 12, (48, 48, 3)).clip(0, 255)
                    Image.fromarray(pixels.astype("uint8")).save(folder / name)
                    rows.writerow([name, label, f"p{patient}"])
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def knet(make_knet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The command line with a configuration for the images."""
    folder = tmp_path_factory.mktemp("three")
    config = {
        "extends": "demo",
        "data": {
            "source": str(_write_images(folder)),
            "classes": list(_CLASSES),
            "positive": ["tumor"],
            "split": {"test_share": 0.25, "validation_share": 0.25},
        },
        "candidates": ["mobilenet"],
        "tuning": None,
        "gate": {"minimum": {"positive_roc_auc": 0.0, "macro_f1": 0.0}, "min_patients": 1},
        "report": {"explanations": 1},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return make_knet(settings=("image.size=32", "training.epochs=1"), config=folder / "config.yaml")


@pytest.fixture(scope="module")
def finished(knet: Any) -> Any:
    """A run on the images."""
    return knet.run()


def test_three_classes_complete_every_node_and_push(finished: Any) -> None:
    assert finished.code == 0, finished.stdout + finished.stderr
    assert set(finished.states().values()) == {"done"}
    assert "served version: " in finished.stdout
    assert "highest macro_roc_auc on validation patients" in finished.stdout
    assert finished.connections == []


def test_three_classes_have_results_of_classes_and_group(finished: Any) -> None:
    (file,) = finished.output.glob("reports/*/results.json")
    whole = json.loads(file.read_text("utf-8"))["candidates"]["mobilenet"]["splits"]["test"][0]
    assert list(whole["images"]) == list(_CLASSES)
    assert np.sum(whole["confusion"]) == sum(whole["group"]["confusion"].values())
    assert {"macro_f1", "positive_recall"} <= whole["metrics"].keys()


def test_three_classes_are_served_over_grpc(finished: Any) -> None:
    images = sorted(Path(_source(finished)).parent.glob("8-*.png"))
    with DevServer(finished.output / "serving" / "knet", port=0) as server, Client(server.address) as client:
        predictions = client.predict(images)
        (explanation,) = client.explain(images[:1])
    for prediction in predictions:
        assert list(prediction.probabilities) == list(_CLASSES)
        likeliest = max(prediction.probabilities, key=lambda name: prediction.probabilities[name])
        assert (prediction.label, prediction.score) == (likeliest, prediction.probabilities[likeliest])
        assert prediction.positive_score == pytest.approx(prediction.probabilities["tumor"])
        assert prediction.threshold is not None and prediction.positive_score is not None
        assert prediction.positive is (prediction.positive_score >= prediction.threshold)
    assert explanation.label == predictions[0].label


def _planned(knet: Any, *settings: str) -> dict[str, str]:
    """Return the state of each node that a dry run prints."""
    finished = knet.run(*settings, command="run --dry-run")
    assert finished.code == 0, finished.stdout + finished.stderr
    words = [line.split() for line in finished.stdout.splitlines()]
    return {line[0]: line[1] for line in words if len(line) == 2 and line[1] in ("cached", "run")}


def test_dry_run_names_what_the_cache_answers_and_writes_nothing(knet: Any, finished: Any) -> None:
    nodes = list(finished.states())
    before = sorted(finished.output.rglob("*"))
    assert _planned(knet) == dict.fromkeys(nodes, "cached")
    changed = _planned(knet, "selection.metric=accuracy")
    assert [node for node in nodes if changed[node] == "run"] == [
        "ModelSelector",
        "ModelGate",
        "ServingValidator",
        "Pusher",
    ]
    assert sorted(finished.output.rglob("*")) == before


def test_run_until_a_node_ends_there_and_records_nothing(knet: Any, finished: Any) -> None:
    stopped = knet.run("data.split.validation_share=0.4", command="run --until StatisticsGen")
    assert stopped.code == 0, stopped.stdout + stopped.stderr
    assert set(stopped.states()) == {"BreakHisExampleGen", "ImportSchemaGen", "StatisticsGen"}
    assert "statistics: " in stopped.stdout
    assert len(list(finished.output.glob("registry/runs/*.json"))) == 1


def _source(finished: Any) -> str:
    (record,) = finished.output.glob("reports/*/report.json")
    return str(json.loads(record.read_text("utf-8"))["data"]["source"])
