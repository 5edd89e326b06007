"""Adds to a compiled graph the nodes that are on Kubeflow alone: RunStart, RunReport and RunEnd."""

from __future__ import annotations

import json
from graphlib import TopologicalSorter
from typing import Any, Final

from pipeline.config import Config
from pipeline.digest import text_digest
from pipeline.runners.kubeflow.plain_node import SEPARATOR

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
    _add(spec, _tasks(spec), START, "run_start", constants=constants, outputs=outputs)


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
    _add(spec, tasks, REPORT, "run_report", constants={"nodes": json.dumps(nodes)})
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
    _add(spec, tasks, END, "run_end", constants={})
    tasks[END]["dependentTasks"] = [GRAPH]
    tasks[END]["triggerPolicy"] = {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}


def _add(
    spec: dict[str, Any],
    tasks: dict[str, Any],
    name: str,
    module: str,
    *,
    constants: dict[str, str],
    outputs: dict[str, str] | None = None,
) -> None:
    """Adds a container that runs a module of ours, with the registry as a parameter of the run."""
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
            "command": ["python", "-m", f"pipeline.runners.kubeflow.{module}"],
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
