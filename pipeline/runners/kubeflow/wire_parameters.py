"""Gives nodes what is known when a run starts: its parameters, and what the first node found."""

from __future__ import annotations

import json
from typing import Any

from pipeline.config import Config
from pipeline.runners.kubeflow.add_nodes import START
from pipeline.runners.kubeflow.invocation import INPUTS_SPEC

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
