"""Fake Argo: walks a workflow that Kubeflow's compiler wrote, one task after another.

It supports what these workflows use: DAGs, `depends`, `when`, parameters, exit hooks, and retries without
delays. Anything else is an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_TAG = re.compile(r"\{\{([^{}]+)\}\}")
_STATES = "Succeeded|Failed|Skipped|Omitted|Errored|Daemoned"
_TASK = re.compile(rf"([A-Za-z0-9][-A-Za-z0-9]*)(?:\.({_STATES}))?")
_WHEN = re.compile(r"\s*(.*?)\s*(==|!=)\s*(.*?)\s*", re.DOTALL)

Parameters = dict[str, str]


@dataclass(frozen=True)
class Container:
    """Container of a pod that is to run.

    Attributes:
        path: of its task, such as `root/Graph/Pusher/executor`.
        template: name of its template.
        spec: Kubernetes container, with tags replaced and the pod's patch applied.
        outputs: files of its output parameters, by name.
        attempt: number of attempts before this one.
    """

    path: str
    template: str
    spec: Mapping[str, Any]
    outputs: Mapping[str, Path]
    attempt: int


@dataclass
class Result:
    """Result of a task.

    Attributes:
        state: as Argo names it.
        attempts: of its container.
        parameters: outputs by name.
    """

    state: str
    attempts: int = 0
    parameters: Parameters = field(default_factory=dict)


class Walk:
    """Walk over one workflow.

    Attributes:
        results: of all tasks, by path, such as `root/Graph/Pusher/executor`; hooks are `…/exit`.
    """

    def __init__(
        self, workflow: Mapping[str, Any], run_container: Callable[[Container], bool], *, outputs: Path
    ) -> None:
        """Prepare a walk.

        Args:
            workflow: the Kubernetes object.
            run_container: runs a container, and returns whether it succeeded.
            outputs: folder for the files of output parameters.
        """
        self.results: dict[str, Result] = {}
        spec, metadata = workflow["spec"], workflow["metadata"]
        self._entrypoint = spec["entrypoint"]
        self._templates = {template["name"]: template for template in spec["templates"]}
        self._run_container = run_container
        self._outputs = outputs
        self._scope = {
            "workflow.name": metadata["name"],
            "workflow.uid": metadata["uid"],
            "workflow.namespace": metadata["namespace"],
            "workflow.creationTimestamp": metadata["creationTimestamp"],
            "workflow.creationTimestamp.RFC3339": metadata["creationTimestamp"],
            **{
                f"workflow.parameters.{parameter['name']}": parameter.get("value", "")
                for parameter in spec.get("arguments", {}).get("parameters", [])
            },
        }

    def run(self) -> str:
        """Run the workflow and return its state."""
        return self._run_template(self._entrypoint, {}, "").state

    def _run_template(self, name: str, arguments: Parameters, path: str) -> Result:
        template = self._templates[name]
        inputs = {
            f"inputs.parameters.{parameter['name']}": arguments.get(
                parameter["name"], parameter.get("value", parameter.get("default"))
            )
            for parameter in template.get("inputs", {}).get("parameters", [])
        }
        assert None not in inputs.values(), f"{path}: {name} lacks a parameter: {inputs}"
        scope = {**self._scope, **{key: str(value) for key, value in inputs.items()}}
        if "dag" in template:
            return self._run_dag(template, scope, path)
        assert "container" in template, f"{path}: {name} is {', '.join(template)}"
        return self._run_pod(template, scope, path)

    def _run_dag(self, template: Mapping[str, Any], scope: Parameters, path: str) -> Result:
        done: dict[str, Result] = {}
        tasks = {task["name"]: task for task in template["dag"]["tasks"]}
        waiting = dict(tasks)
        while waiting:
            name = next(name for name, task in waiting.items() if not _dependencies(task) & set(waiting))
            task = waiting.pop(name)
            done[name] = self._run_task(task, scope, done, f"{path}/{name}".lstrip("/"))
            scope = {
                **scope,
                f"tasks.{name}.status": done[name].state,
                **{f"tasks.{name}.outputs.parameters.{k}": v for k, v in done[name].parameters.items()},
            }
        leaves = set(tasks).difference(*map(_dependencies, tasks.values()))
        failed = any(_has_failed(name, tasks, done) for name in leaves)
        parameters = {
            item["name"]: _filled(item["valueFrom"]["parameter"], scope)
            for item in template.get("outputs", {}).get("parameters", [])
            if "parameter" in item.get("valueFrom", {})
        }
        return Result("Failed" if failed else "Succeeded", parameters=parameters)

    def _run_task(
        self, task: Mapping[str, Any], scope: Parameters, done: Mapping[str, Result], path: str
    ) -> Result:
        if not _may_run(task, done):
            result = Result("Omitted")
        elif not _holds(_filled(task.get("when", ""), scope)):
            result = Result("Skipped")
        else:
            result = self._run_template(task["template"], _arguments(task, scope), path)
            for name, hook in task.get("hooks", {}).items():
                assert name == "exit" and "expression" not in hook, f"{path}: hook {name}"
                self.results[f"{path}/{name}"] = self._run_template(
                    hook["template"], _arguments(hook, scope), f"{path}/{name}"
                )
        self.results[path] = result
        return result

    def _run_pod(self, template: Mapping[str, Any], scope: Parameters, path: str) -> Result:
        limit = _filled(str(template.get("retryStrategy", {}).get("limit", 0)), scope)
        declared = {
            item["name"]: item["valueFrom"]
            for item in template.get("outputs", {}).get("parameters", [])
            if "path" in item.get("valueFrom", {})
        }
        for attempt in range(int(limit or 0) + 1):
            folder = self._outputs / f"{path.replace('/', '.')}.{attempt}"
            folder.mkdir(parents=True)
            files = {name: folder / name for name in declared}
            paths = {f"outputs.parameters.{name}.path": str(file) for name, file in files.items()}
            spec = _patched(template, {**scope, **paths, "retries": str(attempt)})
            succeeded = self._run_container(Container(path, template["name"], spec, files, attempt))
            if succeeded:
                break
        parameters = {
            name: file.read_text("utf-8") if file.exists() else str(declared[name].get("default", ""))
            for name, file in files.items()
        }
        return Result("Succeeded" if succeeded else "Failed", attempt + 1, parameters)


def _has_failed(name: str, tasks: Mapping[str, Any], done: Mapping[str, Result]) -> bool:
    """Return whether a task failed, or was omitted after one that failed."""
    if done[name].state != "Omitted":
        return done[name].state == "Failed"
    return any(_has_failed(dependency, tasks, done) for dependency in _dependencies(tasks[name]))


def _dependencies(task: Mapping[str, Any]) -> set[str]:
    if "depends" in task:
        return {match[1] for match in _TASK.finditer(task["depends"])}
    return set(task.get("dependencies", ()))


def _may_run(task: Mapping[str, Any], done: Mapping[str, Result]) -> bool:
    """Return whether the tasks that a task depends on have the states that it asks for."""
    expression = task.get("depends") or " && ".join(task.get("dependencies", ()))
    if not expression:
        return True

    def truth(match: re.Match[str]) -> str:
        wanted = {match[2]} if match[2] else {"Succeeded", "Skipped", "Daemoned"}
        return str(done[match[1]].state in wanted)

    python = _TASK.sub(truth, expression).replace("&&", " and ").replace("||", " or ").replace("!", " not ")
    assert re.fullmatch(r"(True|False|and|or|not|[() ])*", python), expression
    return bool(eval(python))


def _holds(condition: str) -> bool:
    if not condition:
        return True
    match = _WHEN.fullmatch(condition)
    assert match, condition
    return (match[1] == match[3]) is (match[2] == "==")


def _arguments(task: Mapping[str, Any], scope: Parameters) -> Parameters:
    return {
        parameter["name"]: _filled(str(parameter.get("value", parameter.get("default", ""))), scope)
        for parameter in task.get("arguments", {}).get("parameters", [])
    }


def _patched(template: Mapping[str, Any], scope: Parameters) -> dict[str, Any]:
    """Return the container of a template after the `podSpecPatch` that its driver wrote."""
    container: dict[str, Any] = dict(template["container"])
    patch = _filled(template.get("podSpecPatch", ""), scope)
    if patch:
        (main,) = (item for item in json.loads(patch)["containers"] if item["name"] == "main")
        env = [*container.get("env", []), *main.get("env", [])]
        container |= {**{name: value for name, value in main.items() if value}, "env": env}
    filled = {
        name: [_filled(word, scope) for word in container.get(name, ())] for name in ("command", "args")
    }
    env = [
        {**item, "value": _filled(item["value"], scope)} if "value" in item else item
        for item in container.get("env", ())
    ]
    return {**container, **filled, "env": env}


def _filled(text: str, scope: Mapping[str, str]) -> str:
    """Replace the tags that the scope has; the launcher's own stay."""
    return _TAG.sub(lambda match: scope.get(match[1].strip(), match[0]), text)
