"""Runs a compiled graph as Kubeflow's backend and launcher do, with a process for each container.

Its messages to containers have the form of those that the launcher of Kubeflow Pipelines 2.17.0 sent: input
artifacts without types, with the URIs of an object store and metadata of the launcher, and an output for the
log beside those of the component. Inputs are downloaded and outputs uploaded by the launcher, and a node is
not run where one with the same image, arguments, parameters and inputs was.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.storage import download, object_uri, upload
from pipeline.kubeflow.artifact_uris import ROOT
from pipeline.kubeflow.launcher_messages import (
    LOGS,
    PARAMETERS,
    executor_input,
    in_pod,
    output_artifacts,
    substitute,
    without_empty,
)

_LOG = "log.txt"


@dataclass(frozen=True)
class Outputs:
    """Outputs of a node: artifacts by name, as RuntimeArtifact messages in JSON, and parameters."""

    artifacts: dict[str, dict[str, Any]] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NodeResult:
    """State and outputs of a node of the simulated graph."""

    node: str
    state: str  # done or cached
    outputs: Outputs


class Simulator:
    """A cluster of one machine.

    Buckets are folders under `<root>/store`, or real ones, the cache of nodes is in `<root>/cache`, and every
    run has a folder of its own with a file for the log of each node.
    """

    def __init__(
        self,
        root: Path,
        *,
        run_id: str,
        real_buckets: bool = False,
        told: Callable[[NodeResult], object] = lambda result: None,
    ) -> None:
        """Makes a cluster that keeps its store and cache in a folder, or goes on with one.

        Args:
            root: the folder.
            run_id: of the run that follows.
            real_buckets: artifacts with `s3://` or `gs://` URIs go to the server of the environment.
            told: is told of each node that ended.
        """
        self._root = root.absolute()
        self._run = self._root / "runs" / run_id
        self._run_id = run_id
        self._buckets = Buckets(self._root / "store", real=real_buckets)
        self._told = told

    def run(
        self,
        spec: Mapping[str, Any],
        *,
        pipeline_root: str,
        platform: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> dict[str, NodeResult]:
        """Runs every node of a PipelineSpec in order.

        Args:
            spec: the first document that `knet kubeflow compile` writes.
            pipeline_root: a folder in a bucket, such as `minio://mlpipeline/knet`.
            platform: the second document, of which variables with what a pod knows of itself are taken.
            parameters: of the run, where they are not to have their default values.

        Returns:
            By node, what it left.

        Raises:
            UserError: the backend would refuse the graph, or a container failed; the text ends with the last
                line of its log, and names the file of all of it.
        """
        folder = f"{pipeline_root}/{spec['pipelineInfo']['name']}/{self._run_id}"
        graph = _Graph(spec, _executors(platform or {}), folder)
        values = {**_defaults(spec), **(parameters or {})}
        results: dict[str, NodeResult] = {}
        self._dag(spec["root"]["dag"]["tasks"], graph, values, results)
        return results

    def _dag(
        self,
        tasks: Mapping[str, Any],
        graph: _Graph,
        parameters: Mapping[str, Any],
        results: dict[str, NodeResult],
    ) -> None:
        """Runs the tasks of a graph or of a part of one; a task for its exit runs after a failure too."""
        exits = {name for name, task in tasks.items() if _runs_at_exit(name, task)}
        try:
            for name, task in _in_order({name: task for name, task in tasks.items() if name not in exits}):
                self._task(name, task, graph, parameters, results)
        finally:
            for name in sorted(exits):
                self._task(name, tasks[name], graph, parameters, results)

    def _task(
        self,
        name: str,
        task: Mapping[str, Any],
        graph: _Graph,
        parameters: Mapping[str, Any],
        results: dict[str, NodeResult],
    ) -> None:
        component = graph.spec["components"][task["componentRef"]["name"]]
        inputs = _inputs(task, results, parameters)
        if "dag" in component:
            self._dag(component["dag"]["tasks"], graph, inputs.get("parameterValues", {}), results)
            return
        label = component["executorLabel"]
        executor = graph.spec["deploymentSpec"]["executors"][label]
        if set(executor) != {"container"}:
            raise UserError(f"{name}: Kubeflow runs containers alone, not {', '.join(executor)}")
        container = {
            **executor["container"],
            "fields": graph.platform.get(label, {}).get("fieldPathAsEnv", ()),
        }
        results[name] = self._node(name, component, container, inputs, task=task, folder=graph.folder)
        self._told(results[name])

    def _node(
        self,
        name: str,
        component: Mapping[str, Any],
        container: Mapping[str, Any],
        inputs: dict[str, Any],
        *,
        task: Mapping[str, Any],
        folder: str,
    ) -> NodeResult:
        entry = self._root / "cache" / f"{_cache_key(container, inputs, component)}.json"
        cached = task.get("cachingOptions", {}).get("enableCache", False)
        if cached and entry.is_file():
            return NodeResult(name, "cached", Outputs(**json.loads(entry.read_text(encoding="utf-8"))))
        outputs = self._container(
            name, component, container, inputs, folder=f"{folder}/{name}/{uuid.uuid4()}"
        )
        if cached:
            atomic_write(entry, json.dumps(vars(outputs)))
        return NodeResult(name, "done", outputs)

    def _container(
        self,
        name: str,
        component: Mapping[str, Any],
        container: Mapping[str, Any],
        inputs: dict[str, Any],
        *,
        folder: str,
    ) -> Outputs:
        """Runs a container as the launcher does in a pod, whose file system is a folder here."""
        pod = self._run / name
        shutil.rmtree(pod, ignore_errors=True)
        pod.mkdir(parents=True)
        message = executor_input(component, inputs, folder=folder, pod=pod)
        for held in message["inputs"].get("artifacts", {}).values():
            for artifact in held["artifacts"]:
                self._buckets.download(artifact["uri"], in_pod(pod, artifact["uri"]))
        for held in message["outputs"]["artifacts"].values():
            for artifact in held["artifacts"]:
                in_pod(pod, artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)
        (pod / PARAMETERS).mkdir(parents=True)
        self._execute(name, container, message, pod)
        shutil.copyfile(pod / _LOG, in_pod(pod, f"{folder}/{LOGS}"))
        artifacts = output_artifacts(name, message)
        for artifact in artifacts.values():
            self._buckets.upload(in_pod(pod, artifact["uri"]), artifact["uri"])
        definitions = component.get("outputDefinitions", {}).get("parameters", {})
        parameters = {
            key: _parsed(Path(value["outputFile"]).read_text(encoding="utf-8"), definitions[key])
            for key, value in message["outputs"].get("parameters", {}).items()
        }
        return Outputs(artifacts, parameters)

    def _execute(
        self, name: str, container: Mapping[str, Any], message: Mapping[str, Any], pod: Path
    ) -> None:
        command = [
            substitute(word, message) for word in (*container.get("command", ()), *container.get("args", ()))
        ]
        if command[0] == "python":
            command[0] = sys.executable
        log = pod / _LOG
        with log.open("w", encoding="utf-8") as stream:
            code = subprocess.run(
                command,
                env={
                    **os.environ,
                    **{item["name"]: item["value"] for item in container.get("env", ())},
                    **{item["name"]: self._field(item["fieldPath"]) for item in container["fields"]},
                    ROOT: str(pod),
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if code != 0:
            last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            raise UserError(f"{name} ended with code {code}: {last} (its whole log: {log})")

    def _field(self, path: str) -> str:
        """A field of the pod, by its path."""
        if path != "metadata.labels['pipeline/runid']":
            raise UserError(f"the field {path} of a pod is not simulated")
        return self._run_id


@dataclass(frozen=True)
class _Graph:
    """A graph, and the place of its artifacts."""

    spec: Mapping[str, Any]
    platform: Mapping[str, Any]  # KubernetesExecutorConfig in JSON, by executor
    folder: str  # of the run's artifacts, in a bucket


def _executors(platform: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (
        platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    )
    return found


def _runs_at_exit(name: str, task: Mapping[str, Any]) -> bool:
    """Whether a task runs whatever becomes of the one that it waits for.

    Raises:
        UserError: it would run more than once, or not at all after a failure.
    """
    if task.get("triggerPolicy", {}).get("strategy") != "ALL_UPSTREAM_TASKS_COMPLETED":
        return False
    before = task.get("dependentTasks", ())
    if len(before) != 1:
        raise UserError(f"{name}: Kubeflow would run it after each of {', '.join(before) or 'no task'}")
    inputs = task.get("inputs", {})
    if inputs.get("artifacts") or any("taskOutputParameter" in p for p in inputs["parameters"].values()):
        raise UserError(f"{name}: it takes an output of a task, which is missing after a failure")
    return True


def _parsed(text: str, definition: Mapping[str, Any]) -> Any:
    """The value of an output parameter, whose file has JSON unless it is a text."""
    return text if definition["parameterType"] == "STRING" else json.loads(text)


def _defaults(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The values of the run's parameters; the backend refuses a run that leaves one without."""
    definitions = spec["root"].get("inputDefinitions", {}).get("parameters", {})
    missing = [name for name, definition in definitions.items() if "defaultValue" not in definition]
    if missing:
        raise UserError(f"parameter {missing[0]} has no default value")
    return {name: definition["defaultValue"] for name, definition in definitions.items()}


def _in_order(tasks: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The nodes, each after those that it names."""
    done: set[str] = set()
    while len(done) < len(tasks):
        ready = [name for name, task in tasks.items() if name not in done and _named_by(task) <= done]
        if not ready:
            raise UserError(f"{', '.join(sorted(set(tasks) - done))}: wait for a node that there is not")
        for name in ready:
            yield name, tasks[name]
            done.add(name)


def _named_by(task: Mapping[str, Any]) -> set[str]:
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


def _inputs(
    task: Mapping[str, Any], results: Mapping[str, NodeResult], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """A task's parameters and artifacts, as ExecutorInput.Inputs in JSON."""

    def value(given: Mapping[str, Any]) -> Any:
        if "taskOutputParameter" in given:
            output = given["taskOutputParameter"]
            return results[output["producerTask"]].outputs.parameters[output["outputParameterKey"]]
        if "componentInputParameter" in given:
            return parameters[given["componentInputParameter"]]
        return given["runtimeValue"]["constant"]

    def artifact(given: Mapping[str, Any]) -> dict[str, Any]:
        output = given["taskOutputArtifact"]
        made = results[output["producerTask"]].outputs.artifacts[output["outputArtifactKey"]]
        return {**made, "type": {"instanceSchema": ""}}  # the backend knows no TFX type

    given = task.get("inputs", {})
    inputs = {
        "parameterValues": {name: value(item) for name, item in given.get("parameters", {}).items()},
        "artifacts": {
            name: {"artifacts": [artifact(item)]} for name, item in given.get("artifacts", {}).items()
        },
    }
    return without_empty(inputs)


def _cache_key(container: Mapping[str, Any], inputs: Mapping[str, Any], component: Mapping[str, Any]) -> str:
    """Holds what the backend's key does: no content of a file is among it."""
    artifacts = {
        name: [artifact["name"] for artifact in held["artifacts"]]
        for name, held in inputs.get("artifacts", {}).items()
    }
    key = {
        "container": {name: container.get(name) for name in ("image", "command", "args")},
        "parameters": inputs.get("parameterValues", {}),
        "artifacts": artifacts,
        "outputs": component.get("outputDefinitions", {}),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


class Buckets:
    """Uploads and downloads as Kubeflow's launcher does."""

    def __init__(self, folder: Path, *, real: bool = False) -> None:
        """Names the place.

        Args:
            folder: below which a bucket is `<scheme>/<name>`.
            real: artifacts with `s3://` or `gs://` URIs go to the server of the environment instead.
        """
        self._folder = folder
        self._real = real

    def download(self, uri: str, path: Path) -> None:
        """Copies an artifact, a file or folder, to a path; nothing where there is none."""
        if self._real and object_uri(uri):
            download(uri, path)
        else:
            _copy(self._stored(uri), path)

    def upload(self, path: Path, uri: str) -> None:
        """The inverse."""
        if self._real and object_uri(uri):
            upload(path, uri)
        else:
            _copy(path, self._stored(uri))

    def _stored(self, uri: str) -> Path:
        scheme, _, path = uri.partition("://")
        return self._folder / scheme / path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        shutil.copy2(source, target)
