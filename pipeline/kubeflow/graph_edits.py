"""Adds to a compiled graph the nodes that are on Kubeflow alone: RunStart, RunReport and RunEnd."""

from __future__ import annotations

import json
from graphlib import TopologicalSorter
from typing import Any, Final

from knet.base.digests import text_digest
from pipeline.config.config import Config
from pipeline.kubeflow.entrypoint import INPUTS_SPEC
from pipeline.kubeflow.run_nodes import SEPARATOR

GRAPH: Final = "Graph"  # the part that may fail, as a task of its own
START: Final = "RunStart"
REPORT: Final = "RunReport"
END: Final = "RunEnd"
# Large, and not looked at by the report.
_LEFT_OUT = {
    ("Transform", "transformed_examples"),
    ("Transform", "updated_analyzer_cache"),
    ("ModelSelector", "model"),
    ("ModelSelector", "evaluation"),
}


def add_start(spec: dict[str, Any], config: Config) -> None:
    """Adds the first node, which is never answered from the cache; nothing waits for it yet."""
    outputs = {
        **dict.fromkeys(("fingerprint", "split_sha256", "previous_statistics", "previous_digest"), "STRING"),
        **dict.fromkeys(("baseline", "baseline_digest", "baseline_version"), "STRING"),
        "span": "NUMBER_INTEGER",
        "synthetic_data": "BOOLEAN",
    }
    for name in config.candidates:
        outputs |= {f"trials_{name}": "STRING", f"trials_digest_{name}": "STRING"}
    constants = {"config": config.model_dump_json(), "graph": _digest(spec)}
    _add(spec, _tasks(spec), START, constants=constants, outputs=outputs)


def add_report(spec: dict[str, Any]) -> None:
    """Adds the last node, likewise, which takes what all others made."""
    tasks = _tasks(spec)
    made = {
        (name, output): definition["artifactType"]
        for name in _in_order(tasks)
        for output, definition in _outputs(spec, name).items()
        if (name, output) not in _LEFT_OUT
    }
    nodes = list(dict.fromkeys(name for name, _ in made))
    _add(spec, tasks, REPORT, constants={"nodes": json.dumps(nodes)})
    definitions = spec["components"][REPORT]["inputDefinitions"].setdefault("artifacts", {})
    inputs = tasks[REPORT]["inputs"].setdefault("artifacts", {})
    for (name, output), kind in made.items():
        definitions[f"{name}{SEPARATOR}{output}"] = {"artifactType": kind}
        inputs[f"{name}{SEPARATOR}{output}"] = {
            "taskOutputArtifact": {"producerTask": name, "outputArtifactKey": output}
        }
    tasks[REPORT]["dependentTasks"] = sorted(set(tasks) - {REPORT})


def add_end(spec: dict[str, Any]) -> None:
    """Makes the graph one task, and adds one that Kubeflow runs after it, however it ended.

    Kubeflow runs such a task once for each that it waits for, and gives it no output of a graph that failed.
    """
    root = spec["root"]
    parameters = root["inputDefinitions"]["parameters"]
    spec["components"][GRAPH] = {"dag": root["dag"], "inputDefinitions": {"parameters": parameters}}
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
    _add(spec, tasks, END, constants={})
    tasks[END]["dependentTasks"] = [GRAPH]
    tasks[END]["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def _add(
    spec: dict[str, Any],
    tasks: dict[str, Any],
    name: str,
    *,
    constants: dict[str, str],
    outputs: dict[str, str] | None = None,
) -> None:
    """Adds a container that runs a node of `run_nodes`, with the registry as a parameter of the run."""
    label = f"{name}_executor"
    some = next(iter(spec["deploymentSpec"]["executors"].values()))
    spec["components"][name] = {
        "executorLabel": label,
        "inputDefinitions": {
            "parameters": {key: {"parameterType": "STRING"} for key in ("registry", *constants)}
        },
    }
    if outputs:
        definitions = {key: {"parameterType": kind} for key, kind in outputs.items()}
        spec["components"][name]["outputDefinitions"] = {"parameters": definitions}
    given = {key: {"runtimeValue": {"constant": value}} for key, value in constants.items()}
    tasks[name] = {
        "taskInfo": {"name": name},
        "componentRef": {"name": name},
        "inputs": {"parameters": {"registry": {"componentInputParameter": "registry"}, **given}},
    }
    spec["deploymentSpec"]["executors"][label] = {
        "container": {
            "image": some["container"]["image"],
            "command": ["python", "-m", "pipeline.kubeflow.run_nodes", name],
            "args": ["--executor_input", "{{$}}"],
        }
    }


def _tasks(spec: dict[str, Any]) -> dict[str, Any]:
    tasks: dict[str, Any] = spec["root"]["dag"]["tasks"]
    return tasks


def _outputs(spec: dict[str, Any], node: str) -> dict[str, Any]:
    component = spec["components"][_tasks(spec)[node]["componentRef"]["name"]]
    found: dict[str, Any] = component.get("outputDefinitions", {}).get("artifacts", {})
    return found


def _in_order(tasks: dict[str, Any]) -> list[str]:
    """The nodes, each behind those that it waits for; TFX's own order differs from time to time."""
    sorter = TopologicalSorter({name: task.get("dependentTasks", ()) for name, task in tasks.items()})
    sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        order += ready
        sorter.done(*ready)
    return order


def _digest(spec: dict[str, Any]) -> str:
    """Of every node's compiled parameters, which hold the digests of code and files.

    DataGate's are left out: it hands nothing on.
    """
    given = {
        name: task["inputs"].get("parameters", {})
        for name, task in _tasks(spec).items()
        if name != "DataGate"
    }
    return text_digest(json.dumps(given, sort_keys=True))


_INGEST = "BreakHisExampleGen"


def wire_parameters(spec: dict[str, Any], config: Config) -> None:
    """Declares the parameters of a run, with the configured values as defaults, and leads them to nodes.

    A name with dots leads into the JSON of one of the node's properties (`with_run_values`).
    """
    kubeflow = config.kubeflow
    defaults: dict[str, tuple[str, Any]] = {
        "data_source": ("STRING", kubeflow.data_source),
        "data_root": ("STRING", kubeflow.data_root),
        "registry": ("STRING", kubeflow.registry),
        "seed": ("NUMBER_INTEGER", config.seed),
        "epochs": ("NUMBER_INTEGER", config.training.epochs),
    }
    spec["root"].setdefault("inputDefinitions", {})["parameters"] = {
        name: {"parameterType": kind, "defaultValue": value} for name, (kind, value) in defaults.items()
    }
    for name in ("data_source", "data_root", "seed", "epochs"):
        _wire(spec, START, name, run=name, kind=defaults[name][0])
    for name in ("data_source", "data_root"):
        _wire(spec, _INGEST, name, run=name)
    for name in ("fingerprint", "span"):
        _wire(spec, _INGEST, name, found=name)
    _wire(spec, _INGEST, "split.seed", run="seed", kind="NUMBER_INTEGER")
    for node in (_INGEST, "ModelSelector", "ModelGate"):
        _wire(spec, node, "seed", run="seed")
    for name in ("previous_statistics", "previous_digest"):
        _wire(spec, "DataGate", name, found=name)
    for name in ("baseline", "baseline_digest", "baseline_version"):
        _wire(spec, "ModelGate", name, found=name)
    for node in list(spec["root"]["dag"]["tasks"]):
        kind, _, backbone = node.partition("-")
        if kind == "Trainer":
            _wire_trainer(spec, node)
        elif kind == "Tuner" and config.tuning:
            searched = backbone or config.tuning.backbone
            _wire(spec, node, "candidate.seed", run="seed", kind="NUMBER_INTEGER")
            _wire(spec, node, "previous_trials", found=f"trials_{searched}")
            _wire(spec, node, "previous_digest", found=f"trials_digest_{searched}")


def _wire_trainer(spec: dict[str, Any], node: str) -> None:
    settings = "custom_config.candidate"
    _wire(spec, node, f"{settings}.seed", run="seed", kind="NUMBER_INTEGER")
    _wire(spec, node, f"{settings}.training.epochs", run="epochs", kind="NUMBER_INTEGER")
    _wire(spec, node, f"{settings}.synthetic_data", found="synthetic_data", kind="BOOLEAN")
    for name in ("fingerprint", "split_sha256"):
        _wire(spec, node, f"custom_config.{name}", found=name)


def _wire(
    spec: dict[str, Any], node: str, name: str, *, run: str = "", found: str = "", kind: str = "STRING"
) -> None:
    """Leads a parameter of the run, or one that the first node found, to a parameter of a node.

    Args:
        spec: the graph.
        node: to lead it to.
        name: of the node's parameter.
        run: the run's.
        found: or the first node's.
        kind: the parameter's type, where the node has none of that name.
    """
    task = spec["root"]["dag"]["tasks"][node]
    component = spec["components"][task["componentRef"]["name"]]
    definitions = component.setdefault("inputDefinitions", {}).setdefault("parameters", {})
    definitions.setdefault(name, {"parameterType": kind})
    task.setdefault("inputs", {}).setdefault("parameters", {})[name] = (
        {"componentInputParameter": run}
        if run
        else {"taskOutputParameter": {"producerTask": START, "outputParameterKey": found}}
    )
    if found and START not in task.setdefault("dependentTasks", []):
        task["dependentTasks"].append(START)
    container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
    if INPUTS_SPEC in container.get("args", []):  # the entrypoint learns the types from there
        place = container["args"].index(INPUTS_SPEC) + 1
        container["args"][place] = json.dumps(component["inputDefinitions"], sort_keys=True)
