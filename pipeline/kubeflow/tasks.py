"""Tasks of a PipelineSpec as Kubeflow's backend reads them: order, exit handlers, inputs and outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from knet.base.errors import UserError
from pipeline.kubeflow.launcher_messages import without_empty


def default_parameters(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default values of the run's parameters; the backend refuses parameters without one.

    Args:
        spec: PipelineSpec.

    Raises:
        UserError: a parameter has no default value.
    """
    definitions = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    missing = [name for name, definition in definitions.items() if "defaultValue" not in definition]
    if missing:
        raise UserError(f"parameter {missing[0]} has no default value")
    return {name: definition["defaultValue"] for name, definition in definitions.items()}


def container_tasks(spec: Mapping[str, Any]) -> list[str]:
    """Return the names of the tasks that run a container, in the order in which they can run.

    Args:
        spec: PipelineSpec.
    """

    def names(tasks: Mapping[str, Any]) -> Iterator[str]:
        for name, task in topological_order(tasks):
            component = spec["components"][task["componentRef"]["name"]]
            if "dag" in component:
                yield from names(component["dag"]["tasks"])
            else:
                yield name

    return list(names(spec["root"]["dag"]["tasks"]))


def topological_order(tasks: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the tasks, each after those that it depends on.

    Raises:
        UserError: a task depends on one that does not exist, or on itself.
    """
    done: set[str] = set()
    while len(done) < len(tasks):
        ready = [name for name, task in tasks.items() if name not in done and _dependencies(task) <= done]
        if not ready:
            raise UserError(f"{', '.join(sorted(set(tasks) - done))}: depend on a node that does not exist")
        for name in ready:
            yield name, tasks[name]
            done.add(name)


def _dependencies(task: Mapping[str, Any]) -> set[str]:
    inputs = task.get("inputs", {})
    return {
        *task.get("dependentTasks", ()),
        *(a["taskOutputArtifact"]["producerTask"] for a in inputs.get("artifacts", {}).values()),
        *(
            p["taskOutputParameter"]["producerTask"]
            for p in inputs.get("parameters", {}).values()
            if "taskOutputParameter" in p
        ),
    }


def is_exit_handler(name: str, task: Mapping[str, Any]) -> bool:
    """Return whether a task runs after the failure of the one that it depends on too.

    Raises:
        UserError: it would run more than once, or not at all after a failure.
    """
    if task.get("triggerPolicy", {}).get("strategy") != "ALL_UPSTREAM_TASKS_COMPLETED":
        return False
    dependencies = task.get("dependentTasks", ())
    if len(dependencies) != 1:
        raise UserError(f"{name}: Kubeflow would run it after each of {', '.join(dependencies) or 'no task'}")
    inputs = task.get("inputs", {})
    if inputs.get("artifacts") or any("taskOutputParameter" in p for p in inputs["parameters"].values()):
        raise UserError(f"{name}: its input is an output of a task, which is missing after a failure")
    return True


@dataclass(frozen=True)
class Outputs:
    """Outputs of a node.

    Attributes:
        artifacts: RuntimeArtifact messages as JSON, by name.
        parameters: values by name.
    """

    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


def task_inputs(
    task: Mapping[str, Any], outputs: Mapping[str, Outputs], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a task's parameters and artifacts as an ExecutorInput.Inputs message in JSON.

    Args:
        task: PipelineTaskSpec.
        outputs: outputs of the tasks before it, by name.
        parameters: of the DAG that the task is in, by name.
    """

    def value(source: Mapping[str, Any]) -> Any:
        if "taskOutputParameter" in source:
            output = source["taskOutputParameter"]
            return outputs[output["producerTask"]].parameters[output["outputParameterKey"]]
        if "componentInputParameter" in source:
            return parameters[source["componentInputParameter"]]
        return source["runtimeValue"]["constant"]

    def artifact(source: Mapping[str, Any]) -> dict[str, Any]:
        output = source["taskOutputArtifact"]
        stored = outputs[output["producerTask"]].artifacts[output["outputArtifactKey"]]
        return {**stored, "type": {"instanceSchema": ""}}  # the backend has no TFX types

    sources = task.get("inputs", {})
    inputs = {
        "parameterValues": {name: value(item) for name, item in sources.get("parameters", {}).items()},
        "artifacts": {
            name: {"artifacts": [artifact(item)]} for name, item in sources.get("artifacts", {}).items()
        },
    }
    return without_empty(inputs)
