"""Artifacts that Kubeflow's web interface shows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from run_records import model_info

from knet.evaluation.predictions import write_predictions
from knet.evaluation.results import candidate_results
from knet.models.model_info import write_model_info
from knet.runs.record import RunRecord
from pipeline.kubeflow import artifact_uris
from pipeline.kubeflow.visualizations import (
    NodeFiles,
    Visualization,
    draw_failure,
    draw_node,
    draw_run,
    write_visualizations,
)

_CLASSES = ("benign", "malignant")


@pytest.fixture
def message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Return a launcher's message to a Trainer, in a pod with the root `tmp_path`."""
    monkeypatch.setattr(artifact_uris, "MOUNTS", {"minio://": f"{tmp_path}/minio/"})
    names = ("model", "metrics", "learning_curves", "executor-logs")
    artifacts = {name: {"artifacts": [{"name": name, "uri": f"minio://bucket/{name}"}]} for name in names}
    return {"outputs": {"artifacts": artifacts}}


def test_write_visualizations_writes_files_and_metadata(message: dict[str, Any], tmp_path: Path) -> None:
    drawn = {"metrics": Visualization("m", {"epochs": 3}), "learning_curves": Visualization("<p>")}
    made = write_visualizations(message, "Trainer-vgg16", lambda: drawn)
    assert made == {
        "metrics": {"artifacts": [{"uri": "minio://bucket/metrics", "metadata": {"epochs": 3}}]},
        "learning_curves": {"artifacts": [{"uri": "minio://bucket/learning_curves", "metadata": {}}]},
    }
    assert (tmp_path / "minio/bucket/metrics").read_text("utf-8") == "m"
    assert (tmp_path / "minio/bucket/learning_curves").read_text("utf-8") == "<p>"


def test_write_visualizations_states_a_failure(message: dict[str, Any], tmp_path: Path) -> None:
    def draw() -> dict[str, Visualization]:
        raise ValueError("no <history>")

    made = write_visualizations(message, "Trainer-vgg16", draw)
    assert set(made) == {"metrics", "learning_curves"}
    text = (tmp_path / "minio/bucket/learning_curves").read_text("utf-8")
    assert text == "not drawn: ValueError: no &lt;history&gt;\n"


def test_failed_candidate_says_so_in_its_metrics() -> None:
    made = draw_failure("Trainer-vgg16", "Trainer-vgg16: out of memory")
    assert set(made) == {"metrics", "learning_curves"}
    assert made["metrics"].metadata == {"failed": 1, "error": "Trainer-vgg16: out of memory"}
    assert made["learning_curves"].text == "failed: Trainer-vgg16: out of memory\n"


@pytest.mark.parametrize("node", ["Transform", "RunReport"])
def test_write_visualizations_draws_nothing_unexpected(message: dict[str, Any], node: str) -> None:
    message["outputs"]["artifacts"].pop("metrics")
    assert write_visualizations(message, node, lambda: pytest.fail("drawn")) == {}


def test_metrics_without_undefined_figures() -> None:
    made = Visualization.of_metrics({"a": math.nan, "b": None, "c": 0, "d": "x"}, headline="passed")
    assert made.metadata == {"c": 0, "d": "x"}
    assert made.text == "passed\nc: 0\nd: x\n"


def _node(name: str, folder: Path, *outputs: str, **properties: Any) -> NodeFiles:
    paths = {output: folder / output for output in outputs}
    for path in paths.values():
        path.mkdir()
    return NodeFiles(name, {}, paths, properties, "run-1")


def test_trainer_shows_its_best_epoch_and_its_curves(tmp_path: Path) -> None:
    node = _node("Trainer-mobilenet", tmp_path, "model", "model_run")
    saved_model = node.outputs["model"] / "Format-Serving"
    write_model_info(saved_model, model_info("mobilenet"))
    epochs = [
        {"epoch": number, "loss": 1 / number, "accuracy": 0.5, "val_loss": 0.7, "seconds": 2.0}
        for number in (1, 2, 3)
    ]
    history = {"epochs": epochs, "best_epoch": 2, "resumed_after": 0, "device": "1 x CPU"}
    (node.outputs["model_run"] / "history.json").write_text(
        json.dumps({**history, "precision": "float32"}), "utf-8"
    )
    made = draw_node(node)
    metrics = made["metrics"].metadata
    assert (metrics["loss"], metrics["val_loss"], metrics["best_epoch"]) == (0.5, 0.7, 2)
    assert "val_accuracy" not in metrics
    page = made["learning_curves"].text
    assert page.startswith("<!doctype html>") and page.count("<svg") >= 2 and "mobilenet" in page
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")


@pytest.mark.parametrize("reasons", [[], ["recall on test is 0.5, below the minimum of 0.85"]])
def test_model_gate_shows_its_decision(tmp_path: Path, reasons: list[str]) -> None:
    node = _node("ModelGate", tmp_path, "blessing")
    comparison = {"metric": "balanced_accuracy", "difference": {"value": 0.1, "low": 0.0, "high": None}}
    gate = {"model": "vgg16", "blessed": not reasons, "reasons": reasons, "notes": ["a note"]}
    (node.outputs["blessing"] / "gate.json").write_text(
        json.dumps({**gate, "comparison": comparison}), "utf-8"
    )
    decision = draw_node(node)["decision"]
    assert decision.metadata["passed"] == int(not reasons)
    assert decision.metadata.get("reasons") == (reasons[0] if reasons else None)
    assert decision.metadata["difference"] == 0.1 and "difference_high" not in decision.metadata
    assert decision.text.splitlines()[0] == (f"did not pass: {reasons[0]}" if reasons else "passed")


@pytest.fixture
def folder(tmp_path: Path, make_predictions: Callable[..., Any]) -> Path:
    """Return the folder of a report on a run whose winner is mobilenet."""
    predictions = make_predictions("mobilenet", patients=6)
    write_predictions(predictions, tmp_path / "predictions" / "mobilenet.parquet")
    results = candidate_results(predictions, classes=_CLASSES, slices=(), resamples=10, seed=0)
    (tmp_path / "results.json").write_text(json.dumps({"candidates": {"mobilenet": results}}), "utf-8")
    (tmp_path / "report.html").write_text("<!doctype html>", "utf-8")
    return tmp_path


def test_run_that_pushed_says_so_in_its_metrics(folder: Path, make_record: Callable[..., RunRecord]) -> None:
    metrics = draw_run(make_record(), folder)["metrics"]
    assert metrics.metadata["pushed"] == 1 and metrics.metadata["version"] == "1706702400"
    assert metrics.metadata["test_balanced_accuracy"] == 0.5
    assert metrics.text.startswith("pushed: mobilenet is served as version 1706702400")


def test_run_that_was_refused_says_why_first(folder: Path, make_record: Callable[..., RunRecord]) -> None:
    reason = "recall on test is 0.5, below the minimum of 0.85"
    record = make_record(refusals=(reason,), pushed_version=None, pushed_folder=None)
    metrics = draw_run(record, folder)["metrics"]
    assert metrics.metadata["pushed"] == 0
    assert metrics.metadata["verdict"] == f"not pushed: mobilenet: {reason}"
    assert metrics.text.splitlines()[0] == metrics.metadata["verdict"]


def test_run_names_the_candidates_that_failed(folder: Path, make_record: Callable[..., RunRecord]) -> None:
    record = make_record(failures={"vgg16": "Trainer-vgg16: out of memory"})
    assert draw_run(record, folder)["metrics"].metadata["failed_candidates"] == "vgg16"


def test_run_shows_the_roc_of_its_winner(folder: Path, make_record: Callable[..., RunRecord]) -> None:
    metadata = draw_run(make_record(), folder)["test_metrics"].metadata
    roc = metadata["confidenceMetrics"]
    assert (roc[0]["falsePositiveRate"], roc[0]["recall"]) == (0, 0)
    assert (roc[-1]["falsePositiveRate"], roc[-1]["recall"]) == (1, 1)
    assert all(0 <= point["confidenceThreshold"] <= 1 for point in roc) and len(roc) <= 150
    matrix = metadata["confusionMatrix"]
    assert matrix["annotationSpecs"] == [{"displayName": "benign"}, {"displayName": "malignant"}]
    results = json.loads((folder / "results.json").read_text("utf-8"))["candidates"]["mobilenet"]
    counts = results["splits"]["test"][0]["confusion"]
    assert matrix["rows"][0]["row"] == [counts["true_negatives"], counts["false_positives"]]
    assert matrix["rows"][1]["row"] == [counts["false_negatives"], counts["true_positives"]]


def test_run_without_both_classes_for_test_has_no_roc(
    folder: Path, make_predictions: Callable[..., Any], make_record: Callable[..., RunRecord]
) -> None:
    predictions = make_predictions("mobilenet", patients=6)
    of_one_class = predictions[(predictions["split"] != "test") | (predictions["label"] == 1)]
    write_predictions(of_one_class, folder / "predictions" / "mobilenet.parquet")
    assert "confidenceMetrics" not in draw_run(make_record(), folder)["test_metrics"].metadata


@pytest.mark.parametrize("positive", [["tumor"], None])
def test_run_of_three_classes_shows_them_and_the_roc_of_the_group(
    tmp_path: Path,
    make_class_predictions: Callable[..., Any],
    make_record: Callable[..., RunRecord],
    positive: list[str] | None,
) -> None:
    classes = ["fat", "stroma", "tumor"]
    predictions = make_class_predictions("mobilenet", patients=6, threshold=0.5)
    write_predictions(predictions, tmp_path / "predictions" / "mobilenet.parquet")
    results = candidate_results(
        predictions, classes=classes, positive=positive or (), slices=(), resamples=10, seed=0
    )
    (tmp_path / "results.json").write_text(json.dumps({"candidates": {"mobilenet": results}}), "utf-8")
    (tmp_path / "report.html").write_text("<!doctype html>", "utf-8")
    record = make_record()
    config = {**record.config, "data": {**record.config["data"], "classes": classes, "positive": positive}}
    metadata = draw_run(replace(record, config=config), tmp_path)["test_metrics"].metadata
    assert [spec["displayName"] for spec in metadata["confusionMatrix"]["annotationSpecs"]] == classes
    assert [row["row"] for row in metadata["confusionMatrix"]["rows"]] == [[12, 0, 0], [0, 12, 0], [0, 0, 12]]
    assert ("confidenceMetrics" in metadata) is (positive is not None)
