"""The graph compiles for Kubeflow Pipelines."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.client import client

from pipeline.config import load_config
from pipeline.errors import UserError
from pipeline.runners.kubeflow.compile_pipeline import compile_pipeline

_PRODUCTION = Path(__file__).resolve().parents[4] / "k8s" / "overlays" / "production" / "knet.yaml"
_GOLDEN = Path(__file__).with_name("production.golden.yaml")


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("compiled") / "new" / "pipeline.yaml"
    compile_pipeline(load_config("demo"), output)
    return output


@pytest.fixture(scope="module")
def spec(compiled: Path) -> dict[str, Any]:
    document: dict[str, Any] = next(yaml.safe_load_all(compiled.read_text("utf-8")))
    return document


def test_compiling_twice_gives_the_same_bytes(compiled: Path, tmp_path: Path) -> None:
    compile_pipeline(load_config("demo"), tmp_path / "pipeline.yaml")
    assert (tmp_path / "pipeline.yaml").read_bytes() == compiled.read_bytes()


def test_the_client_of_kubeflow_takes_the_file(compiled: Path) -> None:
    # What it reads a file with before it uploads it.
    document = client._extract_pipeline_yaml(str(compiled))
    assert document.pipeline_spec.pipeline_info.name == "knet-demo"
    executors = document.platform_spec.platforms["kubernetes"].deployment_spec.executors
    assert set(executors) == set(document.pipeline_spec.deployment_spec["executors"])


@pytest.fixture(scope="module")
def tasks(spec: dict[str, Any]) -> dict[str, Any]:
    """Of the graph."""
    found: dict[str, Any] = spec["components"]["Graph"]["dag"]["tasks"]
    return found


def test_every_container_of_tfx_starts_our_entrypoint(spec: dict[str, Any]) -> None:
    own = {"RunStart_executor": "run_start", "RunReport_executor": "run_report", "RunEnd_executor": "run_end"}
    for name, executor in spec["deploymentSpec"]["executors"].items():
        module = own.get(name, "entrypoint")
        assert executor["container"]["command"] == ["python", "-m", f"pipeline.runners.kubeflow.{module}"]


def test_schema_version_is_2_1_0(spec: dict[str, Any]) -> None:
    assert spec["schemaVersion"] == "2.1.0"


def test_every_node_is_a_task_with_an_argo_safe_name(tasks: dict[str, Any]) -> None:
    assert len(tasks) == 23
    assert all(re.fullmatch(r"[a-zA-Z0-9][-a-zA-Z0-9]*", name) for name in tasks)


def test_transform_waits_for_the_data_gate(tasks: dict[str, Any]) -> None:
    assert "DataGate" in tasks["Transform"]["dependentTasks"]


def test_nothing_of_this_machine_is_compiled_in(spec: dict[str, Any]) -> None:
    assert str(Path(__file__).resolve().parents[3]) not in yaml.safe_dump(spec)


def test_every_node_that_may_be_cached_carries_its_code_digest(tasks: dict[str, Any]) -> None:
    cached = {name: task for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}
    assert set(tasks) - set(cached) == {"RunStart", "RunReport"}
    assert all("code_digest" in task["inputs"]["parameters"] for task in cached.values())


def test_the_columns_of_a_manifest_must_be_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"kubeflow\.data_source is a manifest"):
        compile_pipeline(load_config("demo", ["kubeflow.data_source=/data/m.csv"]), tmp_path / "none.yaml")


def test_what_production_runs_is_what_was_reviewed(tmp_path: Path) -> None:
    """A change of the graph shows in the golden file: UPDATE_GOLDEN=1 writes it anew."""
    compile_pipeline(load_config(_PRODUCTION), tmp_path / "pipeline.yaml")
    text = _summary(*yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text("utf-8")))
    if os.environ.get("UPDATE_GOLDEN"):
        _GOLDEN.write_text(text, "utf-8")
    assert text == _GOLDEN.read_text("utf-8")


def _summary(spec: dict[str, Any], platform: dict[str, Any]) -> str:
    """What is ours to decide of a compiled graph, which is the same whatever TFX compiled it."""
    trees = (spec["root"], *spec["components"].values())
    tasks = {name: task for tree in trees for name, task in tree.get("dag", {}).get("tasks", {}).items()}
    parameters = spec["root"]["inputDefinitions"]["parameters"]
    nodes = {name: _node(task, spec, platform) for name, task in tasks.items()}
    summary = {"root": spec["defaultPipelineRoot"], "parameters": parameters, "nodes": nodes}
    # Digests of code change with every line of it.
    return re.sub("[0-9a-f]{64}", "<digest>", yaml.safe_dump(summary, width=110))


def _node(task: dict[str, Any], spec: dict[str, Any], platform: dict[str, Any]) -> dict[str, Any]:
    component = spec["components"][task["componentRef"]["name"]]
    inputs = task.get("inputs", {})
    node = {
        "after": task.get("dependentTasks", []),
        "artifacts": {key: _source(value) for key, value in inputs.get("artifacts", {}).items()},
        "parameters": {key: _source(value) for key, value in inputs.get("parameters", {}).items()},
    }
    if "triggerPolicy" in task:
        node["when"] = task["triggerPolicy"]
    if "dag" in component:
        return {**node, "holds": sorted(component["dag"]["tasks"])}
    label = component["executorLabel"]
    container = spec["deploymentSpec"]["executors"][label]["container"]
    return {
        **node,
        "cached": task.get("cachingOptions", {}).get("enableCache", False),
        "container": {key: container[key] for key in ("image", "command", "env", "resources")},
        "pod": platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"][label],
        "retries": task["retryPolicy"]["maxRetryCount"],
    }


def _source(given: dict[str, Any]) -> Any:
    """Where a task has an input from, or its constant value."""
    match given:
        case {"taskOutputArtifact": {"producerTask": node, "outputArtifactKey": key}}:
            return f"{node}: {key}"
        case {"taskOutputParameter": {"producerTask": node, "outputParameterKey": key}}:
            return f"{node}: {key}"
        case {"componentInputParameter": name}:
            return f"parameter of the run: {name}"
        case {"runtimeValue": {"constant": value}}:
            return value
        case _:
            return given
