"""Report inputs and results, copied from the artifacts of a run."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from PIL import Image
from tensorflow_metadata.proto.v0.anomalies_pb2 import Anomalies, AnomalyInfo

from knet.base import schema_names
from knet.base.schema_names import SPLITS
from knet.base.storage import open_store
from knet.evaluation import explanations
from knet.evaluation.predictions import read_predictions, write_predictions
from knet.runs.record import Execution, OutputArtifact, RunRecord
from knet.runs.registry import StoredStatistics
from pipeline.runners import outputs
from pipeline.runners.outputs import copy_report_inputs, explain_winner, export_results, write_data_page

IMAGES = {"a.png": 0.9, "b.png": 0.2, "c.png": 0.8}  # of malignant patients, with scores


@pytest.fixture
def executions(tmp_path: Path, picture: Callable[..., bytes]) -> dict[str, Execution]:
    """Executions of a run before the Evaluator."""
    split = tmp_path / "examples" / "Split-test"
    split.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(split / "data.gz"), options="GZIP") as writer:
        for name in IMAGES:
            example = tf.train.Example()
            for key, value in ((schema_names.PATH, name), (schema_names.PATIENT, name[0])):
                example.features.feature[key].bytes_list.value.append(value.encode())
            example.features.feature[schema_names.LABEL].int64_list.value.append(1)
            encoded = picture(size=(700, 460))
            example.features.feature[schema_names.IMAGE].bytes_list.value.append(encoded)
            writer.write(example.SerializeToString())
    for folder, name in (
        ("examples", "training_scalars.parquet"),
        ("run", "history.json"),
        ("trials", "trials.csv"),
        ("trials", "summary.json"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text("{}", encoding="utf-8")
    (tmp_path / "trials" / "tensorboard").mkdir()

    def execution(number: int, output: str, folder: str) -> Execution:
        return Execution(number, False, {output: OutputArtifact(10 * number, tmp_path / folder, {})})

    return {
        "BreakHisExampleGen": execution(1, "examples", "examples"),
        "Tuner": execution(2, "trials", "trials"),
        "Trainer-vgg16": execution(3, "model_run", "run"),
    }


def write_scores(folder: Path) -> None:
    images = pd.DataFrame({"image": list(IMAGES), "score": list(IMAGES.values()), "patient": ["a", "b", "c"]})
    frame = images.assign(candidate="vgg16", split="test", label=1, threshold=0.5)
    write_predictions(frame, folder / "predictions" / "vgg16.parquet")


def test_copy_report_inputs_copies_the_small_files(executions: dict[str, Execution], tmp_path: Path) -> None:
    folder = tmp_path / "reports" / "run"
    write_scores(folder)
    copy_report_inputs(folder, executions, candidates=["vgg16"], winner="vgg16")
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "training/vgg16.json",
        "tuning/Tuner/trials.csv",
        "tuning/Tuner/summary.json",
        "lineage.json",
        "predictions/vgg16.parquet",
        "thumbnails/index.json",
        "thumbnails/0.jpg",
        "training_scalars.parquet",
    }


def test_copy_report_inputs_writes_thumbnails_of_errors(
    executions: dict[str, Execution], tmp_path: Path
) -> None:
    write_scores(tmp_path / "run")
    copy_report_inputs(tmp_path / "run", executions, candidates=["vgg16"], winner="vgg16")
    index = json.loads((tmp_path / "run" / "thumbnails" / "index.json").read_text("utf-8"))
    assert index == {"b.png": "0.jpg"}
    content = (tmp_path / "run" / "thumbnails" / "0.jpg").read_bytes()
    assert max(Image.open(io.BytesIO(content)).size) == 240


def test_copy_report_inputs_lists_artifacts_with_mlmd_ids(
    executions: dict[str, Execution], tmp_path: Path
) -> None:
    copy_report_inputs(tmp_path / "run", executions, candidates=[], winner=None)
    rows = json.loads((tmp_path / "run" / "lineage.json").read_text("utf-8"))
    assert [(row["node"], row["execution"], row["artifact"]) for row in rows] == [
        ("BreakHisExampleGen", 1, 10),
        ("Tuner", 2, 20),
        ("Trainer-vgg16", 3, 30),
    ]


def test_copy_report_inputs_without_executions_writes_lineage(tmp_path: Path) -> None:
    copy_report_inputs(tmp_path / "run", {}, candidates=[], winner=None)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["lineage.json"]


def execution(**outputs: Path) -> Execution:
    artifacts = {name: OutputArtifact(1, uri, {}) for name, uri in outputs.items()}
    return Execution(1, cached=False, outputs=artifacts)


@pytest.fixture
def result_executions(tmp_path: Path, make_predictions: Callable[..., Any]) -> dict[str, Execution]:
    """Executions of two evaluated candidates, of selection and gate."""
    for name in ("results", "decision"):
        (tmp_path / name).write_text(json.dumps({"of": name}), encoding="utf-8")
    (tmp_path / "blessing").mkdir()
    (tmp_path / "blessing" / "gate.json").write_text('{"reasons": []}', encoding="utf-8")
    evaluations = {}
    for name in ("vgg16", "mobilenet"):
        frame = make_predictions(name)
        for number, part in enumerate((frame[5:], frame[:5])):
            write_predictions(part, tmp_path / name / "predictions" / f"{number}.parquet")
        evaluations[f"Evaluator-{name}"] = execution(evaluation=tmp_path / name)
    return {
        **evaluations,
        "ModelSelector": execution(results=tmp_path / "results", decision=tmp_path / "decision"),
        "ModelGate": execution(blessing=tmp_path / "blessing"),
    }


def test_export_results_writes_all_results_and_predictions(
    result_executions: dict[str, Execution], tmp_path: Path, make_predictions: Callable[..., Any]
) -> None:
    why = {"resnet50": "Trainer-resnet50: the loss is not finite"}
    files = export_results(
        tmp_path / "report", result_executions, candidates=["vgg16", "mobilenet", "resnet50"], failures=why
    )
    assert sorted(path.relative_to(tmp_path / "report").as_posix() for path in files.values()) == [
        "predictions/mobilenet.parquet",
        "predictions/vgg16.parquet",
    ]
    decision = {"of": "decision", "missing": why}  # the reasons of this run
    for name, tree in {"results": {"of": "results"}, "decision": decision}.items():
        assert json.loads((tmp_path / "report" / f"{name}.json").read_text("utf-8")) == tree
    assert json.loads((tmp_path / "report" / "gate.json").read_text("utf-8")) == {"reasons": []}
    expected = make_predictions("vgg16").sort_values("image", ignore_index=True)
    pd.testing.assert_frame_equal(read_predictions(files["vgg16"]), expected)


def test_export_results_of_a_failed_run_writes_what_exists(
    result_executions: dict[str, Execution], tmp_path: Path
) -> None:
    completed = {"Evaluator-vgg16": result_executions["Evaluator-vgg16"]}
    files = export_results(tmp_path / "report", completed, candidates=["vgg16", "mobilenet"], failures={})
    assert list(files) == ["vgg16"]
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["predictions"]


SCHEMA = """
feature { name: "label" type: INT int_domain { min: 0 max: 1 is_categorical: true } }
feature { name: "image/eosin" type: FLOAT drift_comparator { jensen_shannon_divergence { threshold: 0.2 } } }
"""


@pytest.fixture
def page_executions(tmp_path: Path) -> dict[str, Execution]:
    """Executions before a failing DataGate, with an anomaly and a test split that lacks a class."""
    (tmp_path / "schema").mkdir()
    (tmp_path / "schema" / "schema.pbtxt").write_text(SCHEMA, encoding="utf-8")
    options = tfdv.StatsOptions(schema=tfdv.load_schema_text(str(tmp_path / "schema" / "schema.pbtxt")))
    anomalies = Anomalies(anomaly_info={"slide": AnomalyInfo(short_description="Unexpected")})
    for split in SPLITS:
        frame = pd.DataFrame({"label": [0, int(split != "test")], "image/eosin": [0.1, 0.2]})
        statistics = tfdv.generate_statistics_from_dataframe(frame, options)
        for folder, name, content in (
            ("statistics", "FeatureStats.pb", statistics),
            ("anomalies", "SchemaDiff.pb", anomalies),
        ):
            file = tmp_path / folder / f"Split-{split}" / name
            file.parent.mkdir(parents=True)
            file.write_bytes(content.SerializeToString())

    def execution(output: str) -> Execution:
        return Execution(1, cached=False, outputs={output: OutputArtifact(1, tmp_path / output, {})})

    return {
        "ImportSchemaGen": execution("schema"),
        "StatisticsGen": execution("statistics"),
        "ExampleValidator": execution("anomalies"),
    }


def test_write_data_page_of_a_failed_run_lists_all_anomalies(
    page_executions: dict[str, Execution], make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    page = tmp_path / "reports" / "data.html"
    write_data_page(page, page_executions, record=make_record(), classes=("a", "b"), previous=None)
    text = page.read_text("utf-8")
    assert text.count('<td data-head="feature">slide</td>') == len(SPLITS)
    assert "no example is b (label 1)" in text
    assert "Drift was not measured" in text


def test_write_data_page_shows_drift_since_the_previous_run(
    page_executions: dict[str, Execution], make_record: Callable[..., RunRecord], tmp_path: Path
) -> None:
    shutil.copytree(tmp_path / "statistics", tmp_path / "previous")
    previous = StoredStatistics(
        folder=tmp_path / "previous", digest="0", run_id="20240130-120000", schema=tmp_path
    )
    page = tmp_path / "data.html"
    write_data_page(page, page_executions, record=make_record(), classes=("a", "b"), previous=previous)
    text = page.read_text("utf-8")
    assert '<th scope="row">image/eosin</th><td data-head="distance">0.000</td>' in text
    assert "Drift was not measured" not in text


def test_write_data_page_takes_drift_from_the_verdict_of_data_gate(
    page_executions: dict[str, Execution],
    make_record: Callable[..., RunRecord],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(outputs, "validate_data")
    (tmp_path / "verdict").write_text('{"findings": 0, "drift": {"image/eosin": 0.0123}}', encoding="utf-8")
    page_executions["DataGate"] = execution(verdict=tmp_path / "verdict")
    page = tmp_path / "data.html"
    write_data_page(page, page_executions, record=make_record(), classes=("a", "b"), previous=None)
    assert '<th scope="row">image/eosin</th><td data-head="distance">0.012</td>' in page.read_text("utf-8")
    assert json.loads(page.with_name("data.json").read_text("utf-8"))["anomalies"] == []


def test_explain_winner_caches_by_content_and_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []

    def write(model: Path, examples: Path, folder: Path, *, count: int) -> None:
        read = [(folder / "file").read_text("utf-8") for folder in (model, examples)]
        written.append((*read, count))
        folder.mkdir(parents=True)
        (folder / "explanations.json").write_text(f"{' '.join(read)} {count}", "utf-8")
        (folder / "wrong-1.png").write_bytes(b"")

    monkeypatch.setattr(explanations, "write_explanations", write)

    def explained(run: str, model: str, count: int, images: str = "images") -> str:
        place = tmp_path / run
        for file, content in ((place / "model", model), (place / "data" / "Split-test", images)):
            file.mkdir(parents=True, exist_ok=True)
            (file / "file").write_text(content, "utf-8")
        model_artifact, examples = (
            OutputArtifact(name, place / name, {}, remote=f"s3://{name}") for name in ("model", "data")
        )
        folder = place / f"explanations-{len(written)}-{model}-{count}"
        explain_winner(model_artifact, examples, folder, count=count, cache=open_store(tmp_path / "cache"))
        assert sorted(file.name for file in folder.iterdir()) == ["explanations.json", "wrong-1.png"]
        return (folder / "explanations.json").read_text("utf-8")

    # Each container has its copy of an artifact in another place.
    assert explained("one", "a", 3) == explained("two", "a", 3) == "a images 3"
    # Another model may be at the same place later.
    assert explained("two", "b", 3) == "b images 3" and explained("two", "b", 2) == "b images 2"
    assert explained("two", "b", 2, images="others") == "b others 2"
    assert written == [("a", "images", 3), ("b", "images", 3), ("b", "images", 2), ("b", "others", 2)]


def test_explain_winner_marks_a_cached_file_as_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(model: Path, examples: Path, folder: Path, *, count: int) -> None:
        folder.mkdir(parents=True)
        (folder / "explanations.json").write_text("{}", "utf-8")

    monkeypatch.setattr(explanations, "write_explanations", write)
    artifact = OutputArtifact(1, tmp_path / "artifact", {})
    cache = open_store(tmp_path / "cache")
    explain_winner(artifact, artifact, tmp_path / "one", count=1, cache=cache)
    (file,) = (tmp_path / "cache").iterdir()
    os.utime(file, (0, 0))
    monkeypatch.delattr(explanations, "write_explanations")
    explain_winner(artifact, artifact, tmp_path / "two", count=1, cache=cache)
    assert file.stat().st_mtime > 0 and (tmp_path / "two" / "explanations.json").is_file()


def test_outputs_of_a_cached_run_need_no_tensorflow() -> None:
    modules = "pipeline.kubeflow.run_nodes, pipeline.runners.outputs, knet.report.report, knet.data.examples"
    code = f"import sys, {modules}; print({{'tensorflow', 'apache_beam', 'tfx'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
