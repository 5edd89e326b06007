"""The compiled pipeline on the API server, compiler, driver, launcher and cache of Kubeflow Pipelines.

Each test continues where the one before it ended, since a whole graph takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import keras
import pytest
from kubeflow_backend.backend import BUCKET, Backend, Run
from kubeflow_backend.pods import LEFTOVER
from mlflow.tracking import MlflowClient

import schemas
from knet.data.sample_data import write_sample_data
from knet.runs.record import RunRecord, read_record
from knet.runs.registry import RunRegistry

_START, _INGEST, _REPORT, _END = "RunStart", "BreakHisExampleGen", "RunReport", "RunEnd"
_UNCACHED = {_START, _REPORT, _END}
_TRAINERS = {"Trainer-mobilenet", "Trainer-vgg16"}


@dataclass(frozen=True)
class Project:
    """Compiled pipeline of two tiny candidates, its images, and the folders of its volumes."""

    backend: Backend
    knet: Callable[..., str]
    folder: Path
    mlflow: str  # URL of the server that the runs are logged to

    @property
    def images(self) -> Path:
        return self.folder / "data" / "BreaKHis_v1"

    @property
    def file(self) -> Path:
        return self.folder / "pipeline.yaml"

    def compile(self, name: str, *settings: str) -> Path:
        """Compile the pipeline, with further settings, to a file."""
        common = (
            "candidates={mobilenet: {alpha: 0.25, weights: none}, vgg16: {weights: none}}",
            "tuning=null",
            "image.size=32",
            "training.epochs=1",
            "data.split.test_share=0.25",
            "gate={minimum: {}, margin: 1}",
            "report.explanations=1",
            f"kubeflow.pipeline_root=minio://{BUCKET}/knet",
            f"kubeflow.data_source={self.images}",
            f"kubeflow.schema_file={schemas.BREAKHIS}",
            f"kubeflow.registry={self.folder / 'registry'}",
            f"kubeflow.checkpoints={self.folder / 'checkpoints'}",
            f"kubeflow.cache_root={self.folder / 'maps'}",
            f"kubeflow.push_folder={self.folder / 'models' / 'knet'}",
            f"tracking.mlflow={self.mlflow}",
        )
        file = self.folder / name
        options = [word for setting in (*common, *settings) for word in ("--set", setting)]
        self.knet("kubeflow", "compile", "--preset", "demo", "--output", file, *options)
        return file

    def submit(self, *options: str, file: Path | None = None) -> Run:
        """Submit a run and walk its workflow."""
        submitted = self.knet("kubeflow", "submit", file or self.file, *options)
        run = self.backend.walk_new_workflow()
        assert f"({run.id})" in submitted
        return run

    def records(self) -> list[RunRecord]:
        """Read the records of the registry, oldest first."""
        registry = RunRegistry(self.folder / "registry" / "registry")
        return [read_record(file) for file in registry.runs().values()]

    def logged(self) -> list[Any]:
        """Return the runs on the MLflow server."""
        client = MlflowClient(tracking_uri=self.mlflow)
        return list(client.search_runs([client.get_experiment_by_name("knet-demo").experiment_id]))

    def artifacts(self, run: Run | None = None) -> list[str]:
        """Return the keys of the objects of a run, or of all runs."""
        prefix = f"knet/knet-demo/{run.id}/" if run else "knet/knet-demo/"
        return [item.key for item in boto3.resource("s3").Bucket(BUCKET).objects.filter(Prefix=prefix)]


@pytest.fixture(scope="module")
def project(
    backend: Backend, knet: Callable[..., str], mlflow_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    folder = tmp_path_factory.mktemp("project")
    made = Project(backend, knet, folder, mlflow_server)
    write_sample_data(folder / "data", patients=12, images_per_magnification=1, seed=0)
    assert made.images.is_dir()
    assert made.compile("pipeline.yaml") == made.file
    return made


@pytest.fixture(scope="module")
def first(project: Project) -> Run:
    """The first run."""
    return project.submit("--note", "the first", "--tag", "new", "--tag", "small")


def test_first_run_pushes_a_model(project: Project, first: Run) -> None:
    assert first.state == "Succeeded"
    assert set(first.states().values()) == {"done"} and set(first.states()) > _TRAINERS | _UNCACHED
    (record,) = project.records()
    assert record.error is None and record.pushed_version
    assert {node.state for node in record.nodes} == {"done"}
    assert (project.folder / "models" / "knet" / record.pushed_version / "saved_model.pb").is_file()
    assert (project.folder / "registry" / "reports" / record.run_id / "report.html").is_file()
    assert (record.note, record.tags) == ("the first", ("new", "small"))
    logged = {run.info.run_name: run for run in project.logged()}
    assert set(logged) == {record.run_id, "mobilenet", "vgg16"}
    assert logged[record.run_id].data.tags["knet.pushed_version"] == record.pushed_version


def test_launcher_publishes_what_the_web_interface_reads(project: Project, first: Run) -> None:
    shown = project.backend.visualizations(first)
    trainers = {(node, name) for node in _TRAINERS for name in ("metrics", "learning_curves")}
    report = {(_REPORT, "report"), (_REPORT, "metrics"), (_REPORT, "test_metrics")}
    assert set(shown) == {*trainers, *report, ("DataGate", "data_page"), ("ModelGate", "decision")}

    metrics = shown[_REPORT, "metrics"]
    assert metrics.kind == "system.Metrics" and metrics.properties["pushed"] == 1
    assert metrics.properties["verdict"].startswith("pushed: ")
    assert shown["ModelGate", "decision"].properties["passed"] == 1
    assert shown["Trainer-vgg16", "metrics"].properties["epochs"] == 1

    of_test = shown[_REPORT, "test_metrics"]
    assert of_test.kind == "system.ClassificationMetrics"
    point, *_ = of_test.properties["confidenceMetrics"]["list"]
    assert set(point) == {"confidenceThreshold", "falsePositiveRate", "recall"}
    matrix = of_test.properties["confusionMatrix"]["struct"]
    assert [item["displayName"] for item in matrix["annotationSpecs"]] == ["benign", "malignant"]
    assert [len(row["row"]) for row in matrix["rows"]] == [2, 2]

    pages = [artifact.uri for artifact in shown.values() if artifact.kind == "system.HTML"]
    assert len(pages) == 4
    for uri in pages:
        key = uri.removeprefix(f"minio://{BUCKET}/")
        page = boto3.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()
        assert page.startswith(b"<!doctype html>")


def test_second_run_is_cached(project: Project, first: Run) -> None:
    second = project.submit()
    states = second.states()
    assert second.state == "Succeeded"
    assert {node for node, state in states.items() if state == "done"} == _UNCACHED
    assert {states[node] for node in set(states) - _UNCACHED} == {"cached"}
    one, other = project.records()
    assert {node.state for node in other.nodes} == {"cached"}
    assert other.pushed_version == one.pushed_version
    assert (other.note, other.tags) == ("", ())
    assert {run.info.run_name for run in project.logged()} == {one.run_id, "mobilenet", "vgg16"}


def test_run_that_the_gate_refuses_says_so_in_its_metrics(project: Project, first: Run) -> None:
    gate = "gate={minimum: {recall: 1.0, specificity: 1.0}, margin: null}"
    refused = project.submit(file=project.compile("refused.yaml", gate))
    assert refused.state == "Succeeded"
    metrics = project.backend.visualizations(refused)[_REPORT, "metrics"].properties
    assert metrics["pushed"] == 0
    assert metrics["verdict"].startswith("not pushed: ") and "below the minimum of 1" in metrics["verdict"]


def test_new_data_rerun_and_a_killed_executor_is_retried(project: Project, first: Run) -> None:
    sorted(project.images.rglob("*.png"))[0].unlink()
    project.backend.python.kill_next("Transform")

    run = project.submit()
    states = run.states()
    assert run.state == "Succeeded"
    assert {node for node, state in states.items() if state == "cached"} == {"ImportSchemaGen"}
    assert run.attempts("Transform") == 2
    keys = project.artifacts(run)
    assert any("/Transform/" in key for key in keys)
    assert not [key for key in keys if LEFTOVER in key]
    assert project.records()[-1].data.span == 2


def test_deleted_artifacts_are_named_and_made_again(project: Project, first: Run) -> None:
    before = project.records()[-1]
    transform = [key for key in project.artifacts() if "/Transform/" in key and "executor-logs" not in key]
    boto3.client("s3").delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": key} for key in transform]})
    failed = project.submit("--param", "epochs=2")
    assert failed.state == "Failed" and failed.states()["Transform"] == "cached"
    assert {failed.states()[node] for node in _TRAINERS} == {"failed"}
    record = project.records()[-1]
    assert record.run_id != before.run_id and record.error
    assert "input artifacts were deleted from the object store: " in record.error
    assert "/Transform/" in record.error and f"minio://{BUCKET}/knet/knet-demo/" in record.error

    healed = project.submit("--param", "epochs=2")
    assert healed.state == "Succeeded" and set(healed.states().values()) == {"done"}
    assert project.records()[-1].pushed_version


def test_failed_candidate_leaves_the_other(project: Project, first: Run) -> None:
    weights = project.folder / "damaged.weights.h5"
    keras.applications.VGG16(include_top=False, weights=None, input_shape=(32, 32, 3)).save_weights(weights)
    file = project.compile("damaged.yaml", f"candidates.vgg16.weights={weights}")
    weights.write_bytes(b"damaged")
    run = project.submit("--param", "epochs=2", file=file)
    assert run.state == "Succeeded" and run.states()["Trainer-mobilenet"] == "cached"
    record = project.records()[-1]
    assert record.winner == "mobilenet" and record.error is None
    assert record.failures["vgg16"].startswith("Trainer-vgg16: candidates.vgg16.weights: ")
    nodes = {node.node: node.state for node in record.nodes}
    assert (nodes["Trainer-vgg16"], nodes["Evaluator-vgg16"]) == ("failed", "skipped")


def test_failure_of_run_start_is_recorded(project: Project, first: Run) -> None:
    run = project.submit("--param", f"data_source={project.folder / 'none'}")
    states = run.states()
    assert run.state == "Failed" and states[_START] == "failed" and states[_END] == "done"
    record = project.records()[-1]
    assert (
        record.error
        and record.error.startswith(f"{_START}: ")
        and str(project.folder / "none") in record.error
    )


def test_schedule_is_made_replaced_listed_and_ended(project: Project, first: Run) -> None:
    schedule = ("kubeflow", "schedule", project.file, "--param", "epochs=2", "--cron")
    assert "scheduled: knet-demo" in project.knet(*schedule, "0 2 * * *")
    assert "scheduled already" in project.knet(*schedule, "0 2 * * *")
    assert "replacing" in project.knet(*schedule, "0 * * * * *")
    (held,) = project.backend.schedules()
    assert held["spec"]["trigger"]["cronSchedule"]["cron"] == "0 * * * * *"

    run = project.backend.walk_new_workflow(seconds=150)
    assert run.state == "Succeeded" and run.states()[_INGEST] == "cached"
    listed = project.knet("kubeflow", "status", "--preset", "demo")
    assert "0 * * * * *" in listed and "succeeded" in listed
    assert "unscheduled" in project.knet("kubeflow", "unschedule", "--preset", "demo", "--stop-runs")
    assert not project.backend.schedules()
