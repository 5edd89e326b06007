"""The whole compiled pipeline in the simulator; images, artifacts and registry are on a real S3 server."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import keras
import pytest
import yaml
from fork_server import ForkServer

import schemas
from knet.base.errors import UserError
from knet.base.storage import local_copy, open_store, upload
from knet.client import Client
from knet.data.sample_data import write_sample_data
from knet.runs.record import RunRecord, read_record
from knet.runs.registry import RunRegistry
from knet.serving.dev_server.server import DevServer
from pipeline.config.load import load_config
from pipeline.kubeflow.compiler import compile_pipeline
from pipeline.kubeflow.simulator import NodeResult, Simulator

pytestmark = pytest.mark.e2e

_START, _INGEST, _REPORT, _END = "RunStart", "BreakHisExampleGen", "RunReport", "RunEnd"
_TFX_ENTRYPOINT = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"
_KEYS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}


class Cluster:
    """Simulated cluster with a compiled pipeline of one tiny candidate and its images."""

    def __init__(self, folder: Path, bucket: str, server: ForkServer) -> None:
        self.folder, self.bucket, self._server = folder, bucket, server
        self.images = write_sample_data(folder / "data", patients=12, images_per_magnification=1, seed=0)
        upload(self.images, f"{bucket}/BreaKHis_v1")
        self.spec, self.platform = self.compile({"mobilenet": {"alpha": 0.25, "weights": "none"}})

    def compile(self, candidates: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Compile the pipeline of some candidates."""
        folder, bucket = self.folder, self.bucket
        folders = {"checkpoints": "checkpoints", "cache_root": "maps", "push_folder": "models/knet"}
        settings = [
            f"candidates={json.dumps(candidates)}",
            "tuning=null",
            "image.size=32",
            "data.split.test_share=0.25",
            "gate={minimum: {}, margin: 1}",
            "report.explanations=0",
            f"kubeflow.data_source={bucket}/BreaKHis_v1",
            f"kubeflow.registry={bucket}/memory",
            f"kubeflow.secrets={json.dumps([{'name': 'store', 'env': _KEYS}])}",
            f"kubeflow.schema_file={schemas.BREAKHIS}",
            *(f"kubeflow.{field}={folder / name}" for field, name in folders.items()),
        ]
        compile_pipeline(load_config("demo", settings), folder / "pipeline.yaml")
        spec, platform = yaml.safe_load_all((folder / "pipeline.yaml").read_text("utf-8"))
        return spec, platform

    def run(
        self,
        run_id: str,
        spec: dict[str, Any] | None = None,
        platform: dict[str, Any] | None = None,
        *,
        fork: bool = True,
        **parameters: Any,
    ) -> dict[str, NodeResult]:
        """Run the pipeline, or a cut one.

        Args:
            run_id: id of the run.
            spec: the cut pipeline, or another one.
            platform: of another pipeline.
            fork: whether the processes of containers have the libraries imported.
            parameters: of the run.
        """
        with pytest.MonkeyPatch.context() as patch:
            if fork:
                processes = SimpleNamespace(run=self._fork, STDOUT=subprocess.STDOUT)
                patch.setattr("pipeline.kubeflow.simulator.subprocess", processes)
            return Simulator(self.folder / "cluster", run_id=run_id, real_buckets=True).run(
                spec or self.spec,
                pipeline_root=f"{self.bucket}/artifacts",
                platform=platform or self.platform,
                parameters={"epochs": 1, **parameters},
            )

    def _fork(self, command: list[str], *, env: dict[str, str], **streams: Any) -> Any:
        log = str(self.folder / "connections")
        return self._server.run(command, env={**env, "CONNECT_LOG": log}, **streams)

    def cut(self, *nodes: str, end: bool = False) -> dict[str, Any]:
        """Return the pipeline with some nodes only; RunEnd records runs without RunReport as failed."""
        spec = deepcopy(self.spec)
        dag = spec["components"]["Graph"]["dag"]
        dag["tasks"] = {node: dag["tasks"][node] for node in nodes}
        if not end:
            del spec["root"]["dag"]["tasks"][_END]
        return spec

    def records(self) -> list[RunRecord]:
        """Read the records of the registry, oldest first."""
        found = []
        for location in RunRegistry(f"{self.bucket}/memory/registry").runs().values():
            with local_copy(location) as file:
                found.append(read_record(file))
        return found


@pytest.fixture(scope="module")
def cluster(s3: str, fork_server: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(tmp_path_factory.mktemp("cluster"), s3, fork_server)


@pytest.fixture(scope="module")
def results(cluster: Cluster) -> dict[str, NodeResult]:
    return cluster.run("1")


def test_every_container_succeeds(cluster: Cluster, results: dict[str, NodeResult]) -> None:
    assert set(results) == {*cluster.spec["components"]["Graph"]["dag"]["tasks"], _END}
    assert {result.state for result in results.values()} == {"done"}


def test_artifacts_are_in_the_store_under_their_uris(
    cluster: Cluster, results: dict[str, NodeResult]
) -> None:
    store = open_store(f"{cluster.bucket}/artifacts")
    run = "knet-demo/1/"
    stored = store.names(run)
    for result in results.values():
        for artifact in result.outputs.artifacts.values():
            name = artifact["uri"].removeprefix(f"{cluster.bucket}/artifacts/")
            assert name.startswith(run)
            assert name in stored or any(found.startswith(f"{name}/") for found in stored)


def test_pushed_model_predicts_over_grpc(cluster: Cluster, results: dict[str, NodeResult]) -> None:
    assert results["Pusher"].state == "done"
    images = sorted(cluster.images.rglob("*.png"))[:2]
    with DevServer(cluster.folder / "models/knet", port=0) as server, Client(server.address) as client:
        predictions = client.predict([image.read_bytes() for image in images])
    assert {prediction.label for prediction in predictions} <= {"benign", "malignant"}


def test_web_interface_gets_metrics_and_pages(cluster: Cluster, results: dict[str, NodeResult]) -> None:
    shown = {
        (node, name): artifact
        for node, result in results.items()
        for name, artifact in result.outputs.artifacts.items()
    }
    metrics = shown[_REPORT, "metrics"]["metadata"]
    assert metrics["pushed"] == 1 and metrics["verdict"].startswith("pushed: mobilenet is served as version")
    assert shown["ModelGate", "decision"]["metadata"]["passed"] == 1
    assert shown["Trainer-mobilenet", "metrics"]["metadata"]["epochs"] == 1
    of_test = shown[_REPORT, "test_metrics"]["metadata"]
    assert {"confidenceThreshold", "falsePositiveRate", "recall"} == set(
        of_test["confidenceMetrics"]["list"][0]
    )
    matrix = of_test["confusionMatrix"]["struct"]
    assert [len(row["row"]) for row in matrix["rows"]] == [len(matrix["annotationSpecs"])] * 2 == [2, 2]
    for page in ((_REPORT, "report"), ("DataGate", "data_page"), ("Trainer-mobilenet", "learning_curves")):
        with local_copy(shown[page]["uri"]) as file:
            assert file.read_text("utf-8").startswith("<!doctype html>"), page


@pytest.mark.usefixtures("results")
def test_run_is_registered_with_its_report(cluster: Cluster) -> None:
    record = cluster.records()[0]
    registry = RunRegistry(f"{cluster.bucket}/memory/registry")
    production, statistics = registry.production(), registry.previous_statistics()
    assert production and production.version == record.pushed_version and record.winner == "mobilenet"
    assert statistics and statistics.run_id == record.run_id
    assert {node.state for node in record.nodes} == {"done"}
    seconds = {node.node: node.seconds for node in record.nodes}
    assert seconds["Trainer-mobilenet"] > max(1, seconds["ImportSchemaGen"])
    info = record.candidates["mobilenet"].info
    assert (info.epochs, info.fingerprint) == (1, record.data.fingerprint)
    assert info.synthetic_data and info.split_sha256 == record.data.split_sha256

    names = open_store(f"{cluster.bucket}/memory").names(f"reports/{record.run_id}/")
    files = {name.removeprefix(f"reports/{record.run_id}/") for name in names}
    assert {"report.html", "report.json", "data.html", "lineage.json", "gate.json"} <= files
    with local_copy(f"{cluster.bucket}/memory/reports/{record.run_id}/lineage.json") as file:
        uris = [artifact["uri"] for artifact in json.loads(file.read_text("utf-8"))]
    assert uris and all(uri.startswith(f"{cluster.bucket}/artifacts/knet-demo/1/") for uri in uris)


@pytest.mark.usefixtures("results")
def test_unchanged_pipeline_and_images_are_cached(cluster: Cluster) -> None:
    states = {name: result.state for name, result in cluster.run("2", fork=False).items()}
    assert {name for name, state in states.items() if state == "done"} == {_START, _REPORT, _END}
    first, second = cluster.records()
    assert {node.state for node in second.nodes} == {"cached"}
    assert second.pushed_version == first.pushed_version


@pytest.mark.usefixtures("results")
def test_failed_candidate_leaves_the_others_and_is_retried(cluster: Cluster) -> None:
    weights = cluster.folder / "second.weights.h5"
    network = keras.applications.MobileNet(
        include_top=False, alpha=0.25, weights=None, input_shape=(32, 32, 3)
    )
    network.save_weights(weights)
    intact = weights.read_bytes()
    candidates = {
        "mobilenet": {"alpha": 0.25, "weights": "none"},
        "second": {"backbone": "mobilenet", "alpha": 0.25, "weights": str(weights)},
    }
    documents = cluster.compile(candidates)
    weights.write_bytes(b"damaged")
    first = cluster.run("failed", *documents)
    assert {result.state for result in first.values()} == {"done", "cached"}
    assert first["Trainer-mobilenet"].state == "cached"
    record = cluster.records()[-1]
    assert record.winner == "mobilenet" and record.error is None
    assert record.failures["second"].startswith("Trainer-second: candidates.second.weights: ")
    states = {node.node: node.state for node in record.nodes}
    assert (states["Trainer-second"], states["Evaluator-second"]) == ("failed", "skipped")

    weights.write_bytes(intact)
    repaired = cluster.run("repaired", *documents)
    assert repaired["Trainer-second"].state == "done" and repaired["Trainer-mobilenet"].state == "cached"
    record = cluster.records()[-1]
    assert record.failures == {} and set(record.candidates) == {"mobilenet", "second"}
    assert cluster.run("cached", *documents)["Trainer-second"].state == "cached"


@pytest.mark.usefixtures("results")
def test_run_start_outputs_the_production_baseline(cluster: Cluster) -> None:
    # Another seed gives another split, so the baseline is not that of the same experiment.
    outputs = cluster.run("3", cluster.cut(_START), seed=1)[_START].outputs.parameters
    assert outputs["baseline_version"] == cluster.records()[-1].pushed_version
    with local_copy(outputs["baseline"]) as file:
        assert file.stat().st_size > 0


@pytest.mark.usefixtures("results")
def test_entrypoint_of_tfx_fails_on_untyped_inputs(cluster: Cluster) -> None:
    spec = cluster.cut(_START, _INGEST, "ImportSchemaGen", "StatisticsGen")
    container = spec["deploymentSpec"]["executors"]["StatisticsGen_executor"]["container"]
    container["command"] = ["python", "-m", _TFX_ENTRYPOINT]
    with pytest.raises(
        UserError, match="StatisticsGen ended with code 1: .*'NoneType' object has no attribute"
    ):
        cluster.run("4", spec)


def test_new_images_are_ingested_and_failures_recorded(cluster: Cluster) -> None:
    first = sorted(cluster.images.rglob("*.png"))[0]
    name = first.relative_to(cluster.images).as_posix()
    open_store(f"{cluster.bucket}/BreaKHis_v1").write(name, first.read_bytes()[:100])
    with pytest.raises(
        UserError, match=r"BreakHisExampleGen ended with code 1: .*data\.max_invalid_fraction"
    ):
        cluster.run("5", cluster.cut(_START, _INGEST, end=True))
    record = cluster.records()[-1]
    assert record.user_error and record.error and record.error.startswith("BreakHisExampleGen: ")
    assert [(node.node, node.state) for node in record.nodes] == [(_INGEST, "failed")]
    names = open_store(f"{cluster.bucket}/memory").names(f"reports/{record.run_id}/")
    assert f"reports/{record.run_id}/report.html" in names

    boto3.client("s3").delete_object(Bucket=cluster.bucket.removeprefix("s3://"), Key=f"BreaKHis_v1/{name}")
    again = cluster.run("6", cluster.cut(_START, _INGEST))
    assert again[_INGEST].state == "done"
    with local_copy(again[_INGEST].outputs.artifacts["ingest"]["uri"]) as file:
        assert first.name not in file.read_text("utf-8")


def test_deleted_artifacts_are_named_and_made_again(cluster: Cluster) -> None:
    spec = cluster.cut(_START, _INGEST, "ImportSchemaGen", "StatisticsGen")
    del spec["components"]["Graph"]["dag"]["tasks"]["StatisticsGen"]["cachingOptions"]
    examples = cluster.run("8", spec)[_INGEST].outputs.artifacts["examples"]
    name = examples["uri"].removeprefix(f"{cluster.bucket}/")
    bucket = boto3.resource("s3").Bucket(cluster.bucket.removeprefix("s3://"))
    bucket.objects.filter(Prefix=f"{name}/").delete()

    count = int(examples["metadata"]["files"])
    missing = rf"StatisticsGen ended with code 1: .*examples \(0 of {count} files at {examples['uri']}\)"
    with pytest.raises(UserError, match=missing):
        cluster.run("9", spec)
    healed = cluster.run("10", spec)
    assert {result.state for result in healed.values()} == {"done"}
    assert cluster.run("11", spec)[_INGEST].state == "cached"


def test_user_error_is_the_last_line_of_the_log(
    cluster: Cluster, tmp_path: Path, breakhis: Callable[..., Path]
) -> None:
    with pytest.raises(UserError, match="RunStart ended with code 1: .*UserError: .*none"):
        cluster.run("7", cluster.cut(_START), data_source=str(tmp_path / "none"))
