"""The compiled production pipeline, compared with a golden file."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.load import load_config
from pipeline.kubeflow.compiler import compile_pipeline

_PRODUCTION = Path(__file__).resolve().parents[3] / "k8s" / "overlays" / "production" / "knet.yaml"
_GOLDEN = Path(__file__).with_name("production.golden.yaml")


def test_production_pipeline_matches_the_golden_file(tmp_path: Path) -> None:
    """A change of the pipeline shows in the golden file; UPDATE_GOLDEN=1 rewrites it."""
    compile_pipeline(load_config(_PRODUCTION), tmp_path / "pipeline.yaml")
    text = _summary(*yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text("utf-8")))
    if os.environ.get("UPDATE_GOLDEN"):
        _GOLDEN.write_text(text, "utf-8")
    assert text == _GOLDEN.read_text("utf-8")


def _summary(spec: dict[str, Any], platform: dict[str, Any]) -> str:
    """Return the parts of a compiled pipeline that do not depend on the version of TFX, as YAML."""
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
    """Return the source of a task's input, or its constant value."""
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
