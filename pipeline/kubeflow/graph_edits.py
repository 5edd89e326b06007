"""Edits of a compiled PipelineSpec: the nodes that exist on Kubeflow alone, and the parameters of a run.

`RunStart` runs first, `RunReport` last, and `RunEnd` at the exit of the graph. `run_nodes` runs them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any, Final

from knet.base import node_ids
from knet.base.digests import text_digest
from pipeline.config.config import Config
from pipeline.kubeflow.candidate_failures import RETRY, retry_output
from pipeline.kubeflow.deleted_artifacts import GENERATION
from pipeline.kubeflow.entrypoint import INPUTS_SPEC
from pipeline.kubeflow.visualizations import ARTIFACT_TYPES

GRAPH: Final = "Graph"  # task of the root that holds all nodes but RunEnd
SEPARATOR: Final = "--"  # between node and output in an input's name of RunReport; no node id holds it
# Large artifacts that the report does not read.
_NOT_IN_REPORT = {
    (node_ids.TRANSFORM, "transformed_examples"),
    (node_ids.TRANSFORM, "updated_analyzer_cache"),
    (node_ids.MODEL_SELECTOR, "model"),
    (node_ids.MODEL_SELECTOR, "evaluation"),
}


def add_start(spec: dict[str, Any], config: Config) -> None:
    """Add `RunStart`, which is never cached. Other nodes depend on it once their parameters are wired.

    Args:
        spec: the PipelineSpec, changed in place; here and below.
        config: the experiment.
    """
    outputs = {
        **dict.fromkeys(("fingerprint", "split_sha256", "previous_statistics", "previous_digest"), "STRING"),
        **dict.fromkeys(("baseline", "baseline_digest", "baseline_version", GENERATION), "STRING"),
        "schema_digest": "STRING",
        "span": "NUMBER_INTEGER",
        "synthetic_data": "BOOLEAN",
    }
    for name in config.candidates:
        outputs |= {f"trials_{name}": "STRING", f"trials_digest_{name}": "STRING"}
    outputs |= {retry_output(name): "STRING" for name in _tasks(spec) if node_ids.candidate(name)}
    constants = {"config": config.model_dump_json(), "graph": _digest(spec)}
    _add_node(spec, _tasks(spec), node_ids.RUN_START, constants=constants, outputs=outputs)


def add_report(spec: dict[str, Any]) -> None:
    """Add `RunReport`, which is never cached, depends on all nodes and has their artifacts as inputs."""
    tasks = _tasks(spec)
    artifact_types = {
        (name, output): definition["artifactType"]
        for name in _topological_order(tasks)
        for output, definition in _output_artifacts(spec, name).items()
        if (node_ids.kind(name), output) not in _NOT_IN_REPORT
    }
    nodes = list(dict.fromkeys(name for name, _ in artifact_types))
    _add_node(spec, tasks, node_ids.RUN_REPORT, constants={"nodes": json.dumps(nodes)})
    definitions = spec["components"][node_ids.RUN_REPORT]["inputDefinitions"].setdefault("artifacts", {})
    inputs = tasks[node_ids.RUN_REPORT]["inputs"].setdefault("artifacts", {})
    for (name, output), artifact_type in artifact_types.items():
        definitions[f"{name}{SEPARATOR}{output}"] = {"artifactType": artifact_type}
        inputs[f"{name}{SEPARATOR}{output}"] = {
            "taskOutputArtifact": {"producerTask": name, "outputArtifactKey": output}
        }
    tasks[node_ids.RUN_REPORT]["dependentTasks"] = sorted(set(tasks) - {node_ids.RUN_REPORT})


def add_visualizations(spec: dict[str, Any]) -> None:
    """Declare the artifacts for Kubeflow's web interface, after all nodes but `RunEnd` were added."""
    for name, task in _tasks(spec).items():
        if types := ARTIFACT_TYPES.get(node_ids.kind(name)):
            outputs = spec["components"][task["componentRef"]["name"]].setdefault("outputDefinitions", {})
            outputs.setdefault("artifacts", {}).update(_system_artifacts(types))


def _system_artifacts(types: Mapping[str, str]) -> dict[str, Any]:
    """Return ArtifactSpec messages of Kubeflow's own types as JSON, by name."""
    return {
        name: {"artifactType": {"schemaTitle": title, "schemaVersion": "0.0.1"}}
        for name, title in types.items()
    }


def add_end(spec: dict[str, Any]) -> None:
    """Move all nodes into one task, and add `RunEnd` as its exit handler.

    Kubeflow runs an exit handler once for each task that it depends on, and gives it no outputs of a graph
    that failed. The artifacts of `RunReport` are outputs of the task, so that the web interface shows them on
    the first page of a run.
    """
    root = spec["root"]
    parameters = root["inputDefinitions"]["parameters"]
    shown = ARTIFACT_TYPES[node_ids.RUN_REPORT]
    selectors = {
        name: {"artifactSelectors": [{"producerSubtask": node_ids.RUN_REPORT, "outputArtifactKey": name}]}
        for name in shown
    }
    spec["components"][GRAPH] = {
        "dag": {**root["dag"], "outputs": {"artifacts": selectors}},
        "inputDefinitions": {"parameters": parameters},
        "outputDefinitions": {"artifacts": _system_artifacts(shown)},
    }
    root["dag"] = {
        "tasks": {
            GRAPH: {
                "taskInfo": {"name": GRAPH},
                "componentRef": {"name": GRAPH},
                "inputs": {"parameters": {name: {"componentInputParameter": name} for name in parameters}},
            }
        }
    }
    tasks = root["dag"]["tasks"]
    _add_node(spec, tasks, node_ids.RUN_END, constants={})
    tasks[node_ids.RUN_END]["dependentTasks"] = [GRAPH]
    tasks[node_ids.RUN_END]["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def _add_node(
    spec: dict[str, Any],
    tasks: dict[str, Any],
    name: str,
    *,
    constants: dict[str, str],
    outputs: dict[str, str] | None = None,
) -> None:
    """Add a container that runs a node of `run_nodes`.

    Args:
        spec: the PipelineSpec.
        tasks: the tasks that the node is added to.
        name: of the node.
        constants: values of its parameters by name, beside the run's parameter `registry`.
        outputs: types of its output parameters by name.
    """
    label = f"{name}_executor"
    any_executor = next(iter(spec["deploymentSpec"]["executors"].values()))
    spec["components"][name] = {
        "executorLabel": label,
        "inputDefinitions": {
            "parameters": {key: {"parameterType": "STRING"} for key in ("registry", *constants)}
        },
    }
    if outputs:
        definitions = {key: {"parameterType": kind} for key, kind in outputs.items()}
        spec["components"][name]["outputDefinitions"] = {"parameters": definitions}
    values = {key: {"runtimeValue": {"constant": value}} for key, value in constants.items()}
    tasks[name] = {
        "taskInfo": {"name": name},
        "componentRef": {"name": name},
        "inputs": {"parameters": {"registry": {"componentInputParameter": "registry"}, **values}},
    }
    spec["deploymentSpec"]["executors"][label] = {
        "container": {
            "image": any_executor["container"]["image"],
            "command": ["python", "-m", "pipeline.kubeflow.run_nodes", name],
            "args": ["--executor_input", "{{$}}"],
        }
    }


def _tasks(spec: dict[str, Any]) -> dict[str, Any]:
    tasks: dict[str, Any] = spec["root"]["dag"]["tasks"]
    return tasks


def _output_artifacts(spec: dict[str, Any], node: str) -> dict[str, Any]:
    component = spec["components"][_tasks(spec)[node]["componentRef"]["name"]]
    found: dict[str, Any] = component.get("outputDefinitions", {}).get("artifacts", {})
    return found


def _topological_order(tasks: dict[str, Any]) -> list[str]:
    """Return the nodes' names in a reproducible order, each after its dependencies; TFX's order varies."""
    sorter = TopologicalSorter({name: task.get("dependentTasks", ()) for name, task in tasks.items()})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _digest(spec: dict[str, Any]) -> str:
    """Return a digest of every node's compiled parameters, which include digests of code and files.

    DataGate is excluded: no other node has an input from it.
    """
    parameters = {
        name: task["inputs"].get("parameters", {})
        for name, task in _tasks(spec).items()
        if name != node_ids.DATA_GATE
    }
    return text_digest(json.dumps(parameters, sort_keys=True))


def wire_parameters(spec: dict[str, Any], config: Config, *, confirmed: bool) -> None:
    """Declare the parameters of a run, with the configured values as defaults, and connect them to nodes.

    A name with dots is a path into the JSON of a property (`entrypoint.apply_run_parameters`).

    Args:
        spec: the PipelineSpec, to be changed.
        config: the experiment.
        confirmed: default of the parameter `confirmed`.
    """
    kubeflow = config.kubeflow
    defaults: dict[str, tuple[str, Any]] = {
        "data_source": ("STRING", kubeflow.data_source),
        "data_root": ("STRING", kubeflow.data_root),
        "registry": ("STRING", kubeflow.registry),
        "seed": ("NUMBER_INTEGER", config.seed),
        "epochs": ("NUMBER_INTEGER", config.training.epochs),
        "cache": ("BOOLEAN", True),
        "confirmed": ("BOOLEAN", confirmed),
        "note": ("STRING", ""),
        "tags": ("LIST", []),
    }
    spec["root"].setdefault("inputDefinitions", {})["parameters"] = {
        name: {"parameterType": kind, "defaultValue": value} for name, (kind, value) in defaults.items()
    }
    for name in ("data_source", "data_root", "seed", "epochs", "cache", "confirmed", "note", "tags"):
        _wire(spec, node_ids.RUN_START, name, run=name, parameter_type=defaults[name][0])
    for name in ("data_source", "data_root"):
        _wire(spec, node_ids.EXAMPLE_GEN, name, run=name)
    for name in ("fingerprint", "span"):
        _wire(spec, node_ids.EXAMPLE_GEN, name, start=name)
    _wire(spec, node_ids.SCHEMA_GEN, "schema_digest", start="schema_digest")
    _wire(spec, node_ids.EXAMPLE_GEN, "split.seed", run="seed", parameter_type="NUMBER_INTEGER")
    for node in (node_ids.EXAMPLE_GEN, node_ids.MODEL_SELECTOR, node_ids.MODEL_GATE):
        _wire(spec, node, "seed", run="seed")
    for name in ("previous_statistics", "previous_digest"):
        _wire(spec, node_ids.DATA_GATE, name, start=name)
    _wire(spec, node_ids.DATA_GATE, "synthetic_data", start="synthetic_data", parameter_type="BOOLEAN")
    for name in ("baseline", "baseline_digest", "baseline_version"):
        _wire(spec, node_ids.MODEL_GATE, name, start=name)
    for node in list(spec["root"]["dag"]["tasks"]):
        if node != node_ids.RUN_START:
            _wire(spec, node, GENERATION, start=GENERATION)
        kind, candidate = node_ids.kind(node), node_ids.candidate(node)
        if kind == node_ids.TRAINER:
            _wire_trainer(spec, node, own_epochs="epochs" in config.candidates[candidate].training)
        elif kind == node_ids.TUNER:
            searched = candidate or config.searched_candidates[0]
            _wire(spec, node, "candidate.seed", run="seed", parameter_type="NUMBER_INTEGER")
            _wire(spec, node, "previous_trials", start=f"trials_{searched}")
            _wire(spec, node, "previous_digest", start=f"trials_digest_{searched}")
        if candidate:
            _wire(spec, node, RETRY, start=retry_output(node))


def _wire_trainer(spec: dict[str, Any], node: str, *, own_epochs: bool) -> None:
    settings = "custom_config.candidate"
    _wire(spec, node, f"{settings}.seed", run="seed", parameter_type="NUMBER_INTEGER")
    if not own_epochs:
        _wire(spec, node, f"{settings}.training.epochs", run="epochs", parameter_type="NUMBER_INTEGER")
    _wire(spec, node, f"{settings}.synthetic_data", start="synthetic_data", parameter_type="BOOLEAN")
    for name in ("fingerprint", "split_sha256"):
        _wire(spec, node, f"custom_config.{name}", start=name)


def _wire(
    spec: dict[str, Any],
    node: str,
    name: str,
    *,
    run: str = "",
    start: str = "",
    parameter_type: str = "STRING",
) -> None:
    """Connect a parameter of a node to one of the run, or to an output of `RunStart`.

    Args:
        spec: the PipelineSpec.
        node: name of the node.
        name: of the node's parameter.
        run: name of the run's parameter; or
        start: name of the output of `RunStart`.
        parameter_type: of the parameter, if the node does not declare it.
    """
    task = spec["root"]["dag"]["tasks"][node]
    component = spec["components"][task["componentRef"]["name"]]
    definitions = component.setdefault("inputDefinitions", {}).setdefault("parameters", {})
    definitions.setdefault(name, {"parameterType": parameter_type})
    task.setdefault("inputs", {}).setdefault("parameters", {})[name] = (
        {"componentInputParameter": run}
        if run
        else {"taskOutputParameter": {"producerTask": node_ids.RUN_START, "outputParameterKey": start}}
    )
    if start and node_ids.RUN_START not in task.setdefault("dependentTasks", []):
        task["dependentTasks"].append(node_ids.RUN_START)
    container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    if INPUTS_SPEC in container.get("args", []):  # the entrypoint reads the types from this argument
        index = container["args"].index(INPUTS_SPEC) + 1
        container["args"][index] = json.dumps(component["inputDefinitions"], sort_keys=True)
