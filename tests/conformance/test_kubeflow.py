"""The whole compiled graph, a process for each container, as Kubeflow's backend and launcher run it."""

from __future__ import annotations

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

import schemas
from pipeline.config import load_config
from pipeline.errors import UserError
from pipeline.runners.kubeflow.compile_pipeline import compile_pipeline
from pipeline.runners.kubeflow.simulator import NodeResult, Simulator
from pipeline.sample_data import write_sample_data
from serving.client import Client
from serving.dev_server import DevServer

pytestmark = pytest.mark.e2e

_FIRST, _INGEST = "DataFingerprint", "BreakHisExampleGen"
_STOCK = "tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor"


class Cluster:
    """A compiled graph of one tiny candidate, the images it is of, and where it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = write_sample_data(folder / "data", patients=12, images_per_magnification=1, seed=0)
        places = {"checkpoints": "checkpoints", "cache_root": "maps", "push_folder": "models/knet"}
        settings = [
            "candidates={mobilenet: {alpha: 0.25, weights: none}}",
            "tuning=null",
            "image.size=32",
            "training.epochs=1",
            "data.split.test_share=0.25",
            "gate.minimum={}",
            f"kubeflow.data_source={self.data}",
            f"kubeflow.schema_file={schemas.BREAKHIS}",
            *(f"kubeflow.{field}={folder / name}" for field, name in places.items()),
        ]
        compile_pipeline(load_config("demo", settings), folder / "pipeline.yaml")
        self.spec: dict[str, Any] = next(yaml.safe_load_all((folder / "pipeline.yaml").read_text("utf-8")))

    def run(self, run_id: str, spec: dict[str, Any] | None = None) -> dict[str, NodeResult]:
        return Simulator(self.folder / "cluster", run_id=run_id).run(
            spec or self.spec, pipeline_root="minio://mlpipeline/knet"
        )

    def cut(self, *nodes: str) -> dict[str, Any]:
        """The same graph, of some nodes alone."""
        spec = deepcopy(self.spec)
        spec["root"]["dag"]["tasks"] = {node: spec["root"]["dag"]["tasks"][node] for node in nodes}
        return spec


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    return Cluster(tmp_path_factory.mktemp("cluster"))


@pytest.fixture(scope="module")
def results(cluster: Cluster) -> dict[str, NodeResult]:
    return cluster.run("1")


def test_every_container_ends_well(cluster: Cluster, results: dict[str, NodeResult]) -> None:
    assert set(results) == set(cluster.spec["root"]["dag"]["tasks"])
    assert {result.state for result in results.values()} == {"done"}


def test_artifacts_are_in_the_store_and_known_by_its_uris(
    cluster: Cluster, results: dict[str, NodeResult]
) -> None:
    for result in results.values():
        for artifact in result.outputs.artifacts.values():
            assert artifact["uri"].startswith("minio://mlpipeline/knet/1/")
            stored = cluster.folder / "cluster/store/minio" / artifact["uri"].removeprefix("minio://")
            assert stored.exists()


def test_the_pushed_model_answers_over_grpc(cluster: Cluster, results: dict[str, NodeResult]) -> None:
    assert results["Pusher"].state == "done"
    images = sorted(cluster.data.rglob("*.png"))[:2]
    with DevServer(cluster.folder / "models/knet", port=0) as server, Client(server.address) as client:
        predictions = client.predict([image.read_bytes() for image in images])
    assert {prediction.label for prediction in predictions} <= {"benign", "malignant"}


@pytest.mark.usefixtures("results")
def test_an_unchanged_graph_and_folder_are_answered_from_the_cache(cluster: Cluster) -> None:
    states = {name: result.state for name, result in cluster.run("2").items()}
    assert states.pop(_FIRST) == "done"
    assert set(states.values()) == {"cached"}


@pytest.mark.usefixtures("results")
def test_the_stock_entrypoint_fails_on_an_input_without_a_type(cluster: Cluster) -> None:
    spec = cluster.cut(_FIRST, _INGEST, "ImportSchemaGen", "StatisticsGen")
    container = spec["deploymentSpec"]["executors"]["StatisticsGen_executor"]["container"]
    container["command"] = ["python", "-m", _STOCK]
    with pytest.raises(
        UserError, match="StatisticsGen ended with code 1: .*'NoneType' object has no attribute"
    ):
        cluster.run("3", spec)


@pytest.mark.usefixtures("results")
def test_new_images_in_the_same_folder_are_ingested(cluster: Cluster) -> None:
    first = sorted(cluster.data.rglob("*.png"))[0]
    first.unlink()
    again = cluster.run("4", cluster.cut(_FIRST, _INGEST))
    assert again[_INGEST].state == "done"
    uri = again[_INGEST].outputs.artifacts["ingest"]["uri"].removeprefix("minio://")
    report = json.loads((cluster.folder / "cluster/store/minio" / uri).read_text("utf-8"))
    assert first.name not in json.dumps(report)


def test_a_user_s_mistake_is_the_last_line_of_the_log(
    cluster: Cluster, tmp_path: Path, breakhis: Callable[..., Path]
) -> None:
    spec = cluster.cut(_FIRST)
    spec["root"]["inputDefinitions"]["parameters"]["data_source"]["defaultValue"] = str(tmp_path / "none")
    with pytest.raises(UserError, match="DataFingerprint ended with code 1: .*UserError: .*none"):
        cluster.run("5", spec)
