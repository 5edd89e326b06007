"""Fixtures of the Kubeflow tests: a fake server, compiled pipelines and recorded messages."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from pipeline.config.kubeflow import KubeflowConfig
from pipeline.config.load import load_config
from pipeline.kubeflow.compiler import compile_pipeline
from pipeline.kubeflow.server import COOKIES_VARIABLE, ENDPOINT_VARIABLE, TOKEN_VARIABLE, connect


@pytest.fixture(scope="session")
def fake_kubeflow() -> ModuleType:
    """Import the module beside this file, which takes a second."""
    file = Path(__file__).with_name("fake_kubeflow.py")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def make_server(monkeypatch: pytest.MonkeyPatch, fake_kubeflow: ModuleType) -> Callable[..., Any]:
    """Return the fake server's class, without credentials in the environment."""
    kfp_variables = "KF_PIPELINES_UI_ENDPOINT", "KF_PIPELINES_SA_TOKEN_PATH"
    for name in (TOKEN_VARIABLE, COOKIES_VARIABLE, ENDPOINT_VARIABLE, *kfp_variables):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kfp.client.client.Client._LOCAL_KFP_CONTEXT", "/nonexistent/context.json")
    server: Callable[..., Any] = fake_kubeflow.FakeKubeflow
    return server


@pytest.fixture
def kubeflow_server(make_server: Callable[..., Any]) -> Any:
    return make_server()


@pytest.fixture
def host(kubeflow_server: Any) -> Iterator[str]:
    with kubeflow_server.serving() as url:
        yield url


@pytest.fixture
def config(host: str) -> KubeflowConfig:
    return KubeflowConfig(host=host, cron="0 0 2 * * *")


@pytest.fixture
def client(host: str) -> Iterator[Any]:
    with connect(KubeflowConfig(host=host)) as connected:
        yield connected


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the parts of a compiled pipeline that a server reads."""

    def write(*, name: str = "knet-demo", image: str = "knet:1") -> Path:
        parameters = {
            "data_source": {"parameterType": "STRING", "defaultValue": "/data"},
            "seed": {"parameterType": "NUMBER_INTEGER", "defaultValue": 0},
            "cache": {"parameterType": "BOOLEAN", "defaultValue": True},
            "confirmed": {"parameterType": "BOOLEAN", "defaultValue": False},
            "note": {"parameterType": "STRING", "defaultValue": ""},
            "tags": {"parameterType": "LIST", "defaultValue": []},
        }
        spec = {
            "pipelineInfo": {"name": name},
            "schemaVersion": "2.1.0",
            "defaultPipelineRoot": "minio://mlpipeline/knet",
            "root": {"inputDefinitions": {"parameters": parameters}, "dag": {"tasks": {}}},
            "deploymentSpec": {"executors": {"A": {"container": {"image": image}}}},
        }
        file = tmp_path / "pipeline.yaml"
        file.write_text(yaml.safe_dump_all([spec, {"platforms": {}}]), "utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def recorded_graph(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Compile the PipelineSpec of the pipeline whose messages are in `recordings/`."""
    output = tmp_path_factory.mktemp("recorded") / "pipeline.yaml"
    candidates = {"mobilenet": {"weights": "none", "alpha": 0.25}, "vgg16": {"weights": "none"}}
    compile_pipeline(load_config("demo", ["name=knet-walk", f"candidates={json.dumps(candidates)}"]), output)
    spec: dict[str, Any] = next(yaml.safe_load_all(output.read_text("utf-8")))
    return spec


@pytest.fixture
def recorded() -> Callable[[str], dict[str, Any]]:
    """Return a function that reads the message of launcher 2.17.0 to a node."""

    def read(node: str) -> dict[str, Any]:
        file = (
            Path(__file__).parents[1] / "pipeline" / "kubeflow" / "recordings" / f"executor_input.{node}.json"
        )
        message: dict[str, Any] = json.loads(file.read_text("utf-8"))
        return message

    return read
