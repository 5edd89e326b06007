"""The whole graph with three candidates: a run, its repetition, and a run whose gate refuses the winner."""

from __future__ import annotations

import json
import re
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import ml_metadata as mlmd
import numpy as np
import pytest
import tensorflow as tf
from c_loader import compare_with_python
from ml_metadata.proto import metadata_store_pb2
from prometheus_client.parser import text_string_to_metric_families

import knet.models.hybrid  # noqa: F401 (registers the layers of model.keras)
from knet.base import node_ids, schema_names
from knet.client import Client
from knet.data.split import read_split
from knet.evaluation.predictions import read_predictions
from knet.models.images import decode_images
from knet.models.model_info import read_model_info
from knet.report.report import write_report
from knet.runs.record import read_record
from knet.runs.registry import RunRegistry
from knet.serving.dev_server.server import DevServer
from knet.serving.models_config import complete_versions, newest_version
from knet.serving.monitoring.request_log import RequestLog

pytestmark = pytest.mark.e2e

# One of each kind: the deeper ResNets are resnet50 with more blocks.
CANDIDATES: dict[str, dict[str, Any]] = {
    "mobilenet": {"weights": "none", "alpha": 0.25},
    "vgg16": {"weights": "none"},
    "deep_serial": {
        "backbone": "resnet50",
        "weights": "none",
        "head": {"variant": "serial"},
        "image": {"size": 48},
        "training": {"augmentation": ["original"]},
    },
}
NODES = {
    "BreakHisExampleGen", "ImportSchemaGen", "StatisticsGen", "ExampleValidator", "DataGate", "Transform",
    "Transform-48", "Tuner", *map(node_ids.trainer, CANDIDATES), *map(node_ids.evaluator, CANDIDATES),
    "ModelSelector", "ModelGate", "ServingValidator", "Pusher",
}  # fmt: skip


class Runs:
    """Two equal runs with the artifacts in MLMD after each, and a third whose winner is refused."""

    def __init__(self, knet: Any) -> None:
        self.knet = knet
        self.output: Path = knet.output
        settings = (
            f"candidates={json.dumps(CANDIDATES)}",
            "report.explanations=1",
            "gate.margin=0.05",  # compares with the production model
        )
        self.first = knet.run(*settings, fork=False)
        self.first_artifacts = self.artifacts()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.second = knet.run(*settings, fork=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.second_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.after_two = self.artifacts()
        self.served = self.versions()
        minimum = "{recall: 1, specificity: 1, roc_auc: 1, accuracy: 1}"
        self.refused = knet.run(*settings, "report.explanations=0", f"gate.minimum={minimum}")

    @property
    def store(self) -> mlmd.MetadataStore:
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.output / "metadata.sqlite")
        return mlmd.MetadataStore(config)

    def versions(self) -> list[str]:
        return [str(number) for number in complete_versions(self.output / "serving" / "knet")]

    def reports(self) -> list[dict[str, Any]]:
        """Return the run records, oldest first."""
        files = sorted((self.output / "reports").glob("*/report.json"))
        return [json.loads(file.read_text("utf-8")) for file in files]

    def artifacts(self) -> Counter[str]:
        return Counter(artifact.type for artifact in self.store.get_artifacts())

    def uri(self, artifact_type: str, node: str) -> Path:
        (uri,) = (
            artifact.uri
            for artifact in self.store.get_artifacts_by_type(artifact_type)
            if f"/{node}/" in artifact.uri
        )
        return Path(uri)

    def examples(self, split: str) -> Iterator[tf.train.Example]:
        folder = self.uri("Examples", "BreakHisExampleGen") / f"Split-{split}"
        records = tf.data.TFRecordDataset([str(f) for f in folder.iterdir()], compression_type="GZIP")
        return (tf.train.Example.FromString(record) for record in records.as_numpy_iterator())

    def texts(self, split: str, name: str) -> list[str]:
        return [e.features.feature[name].bytes_list.value[0].decode() for e in self.examples(split)]


@pytest.fixture(scope="module")
def runs(make_knet: Callable[..., Any]) -> Runs:
    return Runs(make_knet())


def test_first_run_completes_every_node(runs: Runs) -> None:
    assert runs.first.code == 0, runs.first.stdout + runs.first.stderr
    assert runs.first.states() == dict.fromkeys(NODES, "done")


def test_second_run_is_cached_within_a_minute_of_cpu(runs: Runs) -> None:
    assert runs.second.code == 0, runs.second.stdout + runs.second.stderr
    assert runs.second.states() == dict.fromkeys(NODES, "cached")
    assert runs.second_seconds < 60


def test_second_run_adds_no_artifacts_to_mlmd(runs: Runs) -> None:
    executions = sorted(runs.store.get_executions(), key=lambda execution: execution.id)[: 2 * len(NODES)]
    pb = metadata_store_pb2.Execution
    states = Counter(execution.last_known_state for execution in executions)
    assert states == {pb.COMPLETE: len(NODES), pb.CACHED: len(NODES)}
    assert runs.after_two == runs.first_artifacts
    expected = {"Model": 4, "ModelRun": 3, "ModelEvaluation": 4, "PushedModel": 1, "Schema": 1, "Examples": 3}
    assert {kind: runs.first_artifacts[kind] for kind in expected} == expected


def test_examples_hold_each_image_once_and_share_no_patient(runs: Runs) -> None:
    patients = [set(runs.texts(split, schema_names.PATIENT)) for split in schema_names.SPLITS]
    assert sum(map(len, patients)) == len(set.union(*patients))
    paths = [path for split in schema_names.SPLITS for path in runs.texts(split, schema_names.PATH)]
    on_disk = (runs.output / "sample-data").rglob("*.png")
    assert Counter(path.rpartition("/")[2] for path in paths) == Counter(path.name for path in on_disk)


def test_frozen_split_equals_the_split_of_the_examples(runs: Runs) -> None:
    (file,) = (runs.output / "artifacts" / "BreakHisExampleGen" / "splits").glob("*/value")
    split = read_split(file.read_text("utf-8"), file)
    written = {
        patient: name for name in schema_names.SPLITS for patient in runs.texts(name, schema_names.PATIENT)
    }
    assert split.assignment == written
    assert runs.reports()[0]["data"]["split_sha256"] == split.sha256


def test_pixel_statistics_are_of_the_train_split(runs: Runs) -> None:
    transformed = runs.uri("Examples", "Transform") / "Split-test"
    records = tf.data.TFRecordDataset([str(f) for f in transformed.iterdir()], compression_type="GZIP")
    example = tf.train.Example.FromString(next(iter(records)).numpy())
    encoded = [e.features.feature[schema_names.IMAGE].bytes_list.value[0] for e in runs.examples("train")]
    pixels = np.stack([tf.io.decode_png(image, channels=3).numpy() for image in encoded]).astype("float64")
    for name, expected in (
        (schema_names.PIXEL_MEAN, pixels.mean(axis=(0, 1, 2))),
        (schema_names.PIXEL_STD, pixels.std(axis=(0, 1, 2))),
    ):
        written = example.features.feature[name].float_list.value
        np.testing.assert_allclose(written, expected, rtol=1e-5)


def test_served_probabilities_equal_the_keras_model(runs: Runs) -> None:
    production = RunRegistry(runs.output / "registry").production()
    assert production is not None
    model = keras.saving.load_model(
        runs.uri("ModelRun", node_ids.trainer(production.candidate)) / "model.keras", compile=False
    )
    encoded = [e.features.feature[schema_names.IMAGE].bytes_list.value[0] for e in runs.examples("test")]
    with DevServer(runs.output / "serving" / "knet", port=0) as server, Client(server.address) as client:
        predictions = client.predict(encoded)
    served = np.array([[p.probabilities[name] for name in ("benign", "malignant")] for p in predictions])
    size = model.input_shape[1]
    expected = model.predict(
        decode_images(tf.constant(encoded), size=size).numpy().astype("float32"), verbose=0
    )
    info = read_model_info(runs.output / "serving" / "knet" / production.version)
    calibrated = expected ** (1 / info.calibration.temperature)
    calibrated /= calibrated.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(served.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(served, calibrated, atol=1e-4)
    positive, threshold = [p.label == "malignant" for p in predictions], info.calibration.threshold
    assert threshold is not None
    assert positive == [p.score >= threshold for p in predictions]
    assert {p.threshold for p in predictions} == {float(np.float32(threshold))}
    assert all(p.in_distribution == (not p.reasons) for p in predictions)
    assert {str(p.model_version) for p in predictions} == {production.version}


def test_pushed_model_answers_in_the_cpp_loader_as_in_python(runs: Runs, tmp_path: Path) -> None:
    pushed = newest_version(runs.output / "serving" / "knet")
    assert pushed is not None
    encoded = [e.features.feature[schema_names.IMAGE].bytes_list.value[0] for e in runs.examples("test")]
    requests = [("serving_default", encoded), ("explain", encoded), ("features", encoded)]
    assert compare_with_python(pushed, requests, work=tmp_path) > len(requests)


def test_report_folder_has_explanations_of_the_winner(runs: Runs) -> None:
    folders = [file.parent / "explanations" for file in sorted(runs.output.glob("reports/*/report.json"))]
    trees = [json.loads((folder / "explanations.json").read_text("utf-8")) for folder in folders[:2]]
    assert trees[0] == trees[1] and not folders[2].exists()
    assert trees[0]["candidate"] == runs.reports()[0]["winner"]
    for entry in trees[0]["images"]:
        assert entry["path"] in runs.texts("test", schema_names.PATH)
        assert (folders[1] / entry["image"]).is_file() and (folders[1] / entry["overlay"]).is_file()


def test_recorded_metrics_equal_those_of_served_predictions(runs: Runs) -> None:
    report = runs.reports()[0]
    encoded = [e.features.feature[schema_names.IMAGE].bytes_list.value[0] for e in runs.examples("test")]
    truth = np.array(
        [e.features.feature[schema_names.LABEL].int64_list.value[0] for e in runs.examples("test")]
    )
    with DevServer(runs.output / "serving" / "knet", port=0) as server, Client(server.address) as client:
        predictions = client.predict(encoded)
    positive = np.array([p.label == "malignant" for p in predictions])
    score = np.array([p.score for p in predictions])
    malignant, benign = score[truth == 1], score[truth == 0]
    expected = {
        "accuracy": np.mean(positive == truth),
        "recall": np.mean(positive[truth == 1]),
        "specificity": np.mean(~positive[truth == 0]),
        "roc_auc": np.mean(np.sign(malignant[:, None] - benign[None, :]) / 2 + 0.5),
    }
    metrics = report["candidates"][report["winner"]]["metrics"]["test"]
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    intervals = report["candidates"][report["winner"]]["intervals"]["test"]
    assert all(intervals[name][0] <= metrics[name] <= intervals[name][1] for name in expected)


def test_report_folder_has_results_and_predictions(runs: Runs) -> None:
    folder = min((runs.output / "reports").glob("*/report.json")).parent
    results, decision = (
        json.loads((folder / name).read_text("utf-8")) for name in ("results.json", "decision.json")
    )
    assert set(results["candidates"]) == set(decision["candidates"]) == set(CANDIDATES)
    paths = {split: runs.texts(split, schema_names.PATH) for split in ("validation", "test")}
    for name in CANDIDATES:
        frame = read_predictions(folder / "predictions" / f"{name}.parquet")
        assert {"slide", "magnification", "subtype"} <= set(frame)
        for split, expected in paths.items():
            of_split = frame[frame["split"] == split]
            assert sorted(of_split["image"]) == sorted(expected)
            whole = results["candidates"][name]["splits"][split][0]
            assert sum(whole["images"].values()) == len(expected)
            right = (of_split["score"] >= of_split["threshold"]) == of_split["label"]
            assert whole["metrics"]["accuracy"]["value"] == pytest.approx(right.mean())
    assert decision["candidates"][decision["winner"]]["won"]


def test_model_gate_compares_with_the_production_model(runs: Runs) -> None:
    production = RunRegistry(runs.output / "registry").production()
    assert production is not None
    (line,) = [line for line in runs.refused.stdout.splitlines() if line.startswith("gate: ")]
    baseline = f"to {production.candidate}, version {production.version}, in production is +0.000"
    assert line.startswith(f"gate: the difference in patient_recognition_rate {baseline}")


def test_candidates_train_with_the_best_hyperparameters(runs: Runs) -> None:
    best = json.loads((runs.uri("HyperParameters", "Tuner") / "best_hyperparameters.txt").read_text("utf-8"))
    for candidate in runs.reports()[0]["candidates"].values():
        used = {name: candidate["info"][name] for name in ("learning_rate", "momentum")}
        assert used == pytest.approx(best["values"])


def test_console_and_report_show_the_search(runs: Runs) -> None:
    tuning = runs.reports()[0]["tuning"]["Tuner"]
    assert (tuning["trials"], tuning["failed"]) == (2, 0)
    assert tuning["score"] <= tuning["paper_score"]
    (line,) = [line for line in runs.first.stdout.splitlines() if line.startswith("tuned on mobilenet: ")]
    assert f"momentum {tuning['values']['momentum']:.4g}" in line
    report = next((runs.output / "reports").glob("*/report.html")).read_text("utf-8")
    assert "Best val_loss so far" in report
    trials = runs.uri("TunerResults", "Tuner") / "trials.csv"
    assert trials.read_text("utf-8").splitlines()[1].startswith("0,paper,completed,0.001,0.9,")


def test_examples_are_not_sorted_by_class(runs: Runs) -> None:
    labels = [e.features.feature[schema_names.LABEL].int64_list.value[0] for e in runs.examples("train")]
    assert labels not in (sorted(labels), sorted(labels, reverse=True))


def test_refused_winner_is_not_pushed_and_the_reason_printed(runs: Runs) -> None:
    assert runs.refused.code == 0, runs.refused.stdout + runs.refused.stderr
    rerun = {node for node, state in runs.refused.states().items() if state == "done"}
    assert rerun == {"ModelGate", "ServingValidator", "Pusher"}
    (line,) = [line for line in runs.refused.stdout.splitlines() if line.startswith("not pushed: ")]
    assert "below the minimum of 1" in line
    assert runs.versions() == runs.served
    production = RunRegistry(runs.output / "registry").production()
    assert production is not None and [production.version] == runs.served


def test_console_shows_candidates_report_and_version(runs: Runs) -> None:
    production = RunRegistry(runs.output / "registry").production()
    assert production is not None
    lines = [line.split() for line in runs.first.stdout.splitlines()]
    table = [words for words in lines if words and words[0] in CANDIDATES]
    assert [words[0] for words in table] == list(CANDIDATES)
    assert [words[0] for words in table if words[-1] == "winner"] == [production.candidate]
    assert f"served version: {production.version}" in runs.first.stdout
    assert "gate: there is no model in production to compare with" in runs.first.stdout
    assert "synthetic" in runs.first.stdout
    named = next(line for line in runs.first.stdout.splitlines() if line.startswith("report: "))
    assert "Synthetic data" in Path(named.removeprefix("report: ")).read_text("utf-8")


def test_console_names_the_data_page(runs: Runs) -> None:
    named = next(line for line in runs.first.stdout.splitlines() if line.endswith("data.html"))
    page = Path(named.removeprefix("data:").strip())
    assert (page.parent / "report.html").is_file()
    text = page.read_text("utf-8")
    assert (
        "None: the data match the schema" in text and "Synthetic data" in text and "<facets-overview" in text
    )


def test_report_is_complete_and_renders_without_artifacts(runs: Runs, tmp_path: Path) -> None:
    first = min((runs.output / "reports").iterdir())
    text = (first / "report.html").read_text("utf-8")
    empty = re.findall(r'<section id="(\w+)"(?:(?!</section>).)*?<p class="missing">', text, re.S)
    assert set(empty) <= {
        "anomalies",
        "heat_maps",
    }  # the first run measures no drift; a kind of image may be absent
    shutil.copytree(first, tmp_path / "copied")
    record = read_record(first / "report.json")
    assert write_report(record, tmp_path / "copied").read_text("utf-8") == text


def test_report_of_a_refused_winner_has_the_reason(runs: Runs) -> None:
    last = max((runs.output / "reports").iterdir())
    assert "below the minimum of 1" in (last / "report.html").read_text("utf-8")


def test_registry_stores_the_statistics_of_the_last_run(runs: Runs) -> None:
    stored = RunRegistry(runs.output / "registry").previous_statistics()
    assert stored is not None and stored.run_id == runs.reports()[-1]["run_id"]
    expected = runs.uri("ExampleStatistics", "StatisticsGen")
    for split in schema_names.SPLITS:
        file = f"Split-{split}/FeatureStats.pb"
        assert (stored.folder / file).read_bytes() == (expected / file).read_bytes()


def test_monitor_finds_no_drift_in_training_images(runs: Runs, tmp_path: Path) -> None:
    images = [
        example.features.feature[schema_names.IMAGE].bytes_list.value[0] for example in runs.examples("train")
    ]
    log = RequestLog(tmp_path / "log")
    with DevServer(runs.output / "serving" / "knet", port=0) as server, Client(server.address) as client:
        for image, prediction in zip(images, client.predict(images), strict=True):
            log.record(image, prediction)
    arguments = (
        f"--min-images {len(images)} --metrics {tmp_path / 'knet.prom'} --page {tmp_path / 'page.html'}"
    )
    finished = runs.knet.run(command=f"monitor {tmp_path / 'log'} {arguments}")
    assert finished.code in (0, 1), finished.stderr  # scores of so few patients may have drifted
    gauges = text_string_to_metric_families((tmp_path / "knet.prom").read_text("utf-8"))
    distances = {
        sample.labels["feature"]: sample.value
        for gauge in gauges
        for sample in gauge.samples
        if sample.name == "knet_monitor_distance"
    }
    assert set(distances) == {*schema_names.IMAGE_SCALARS, schema_names.SCORE, schema_names.DISTANCE}
    assert max(distances[name] for name in schema_names.IMAGE_SCALARS) < 1e-6
    assert "Synthetic data." in (tmp_path / "page.html").read_text("utf-8")


def test_served_model_is_marked_as_synthetic(runs: Runs) -> None:
    info = runs.output / "serving" / "knet"
    (file,) = info.glob("*/assets.extra/knet.json")
    assert json.loads(file.read_text("utf-8"))["synthetic_data"] is True


def test_runs_open_no_outside_connection(runs: Runs) -> None:
    assert runs.first.connections == []
    assert runs.second.connections == []
