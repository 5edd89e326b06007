"""Simulator of Kubeflow Pipelines: runs a compiled pipeline locally, with a process for each container.

- Messages to containers have the form of launcher 2.17.0: input artifacts have no types, but the URIs of an
  object store and the launcher's metadata, and `executor-logs` is among the outputs.
- Inputs are downloaded and outputs uploaded around each container.
- A node is cached if one with the same image, arguments, parameters and inputs ran before.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.storage import download, object_uri, upload
from pipeline.kubeflow.artifact_uris import ROOT_VARIABLE
from pipeline.kubeflow.launcher_messages import (
    LOGS,
    PARAMETERS,
    executor_input,
    in_pod,
    output_artifacts,
    substitute,
)
from pipeline.kubeflow.tasks import (
    Outputs,
    default_parameters,
    is_exit_handler,
    task_inputs,
    topological_order,
)

_LOG = "log.txt"


@dataclass(frozen=True)
class NodeResult:
    """State and outputs of a node.

    Attributes:
        node: name of the node.
        state: done, cached or failed.
        outputs: artifacts and parameters.
    """

    node: str
    state: str
    outputs: Outputs = field(default_factory=Outputs)


class Simulator:
    """Cluster on this machine.

    - `<root>/store`: buckets as folders, unless real ones are used.
    - `<root>/cache`: outputs of cached nodes.
    - `<root>/runs/<run id>/<node>`: file system of each pod, with the container's `log.txt`.
    """

    def __init__(
        self,
        root: Path,
        *,
        run_id: str,
        real_buckets: bool = False,
        on_start: Callable[[str], object] = lambda node: None,
        on_result: Callable[[NodeResult], object] = lambda result: None,
    ) -> None:
        """Open a cluster.

        Args:
            root: folder of store, cache and runs, new or existing.
            run_id: id of the next run.
            real_buckets: store artifacts with `s3://` or `gs://` URIs on the server that the environment
                names.
            on_start: called with the name of each node that starts.
            on_result: called with the result of each node that ended, failed ones included.
        """
        self._root = root.absolute()
        self._run = self._root / "runs" / run_id
        self._run_id = run_id
        self._buckets = Buckets(self._root / "store", real=real_buckets)
        self._on_start = on_start
        self._on_result = on_result

    def run(
        self,
        spec: Mapping[str, Any],
        *,
        pipeline_root: str,
        platform: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> dict[str, NodeResult]:
        """Run the nodes of a pipeline, each after those that it depends on.

        Args:
            spec: PipelineSpec, the first document of `knet kubeflow compile`.
            pipeline_root: folder in a bucket, such as `minio://mlpipeline/knet`.
            platform: SinglePlatformSpec, the second document; only `fieldPathAsEnv` is read.
            parameters: of the run, by name; others have their defaults.

        Returns:
            Results of the nodes, by name.

        Raises:
            UserError: the backend would refuse the pipeline, or a container failed; the message has the last
                line of its log and the log's path.
        """
        folder = f"{pipeline_root}/{spec['pipelineInfo']['name']}/{self._run_id}"
        graph = _Graph(spec, _executors(platform or {}), folder)
        values = {**default_parameters(spec), **(parameters or {})}
        results: dict[str, NodeResult] = {}
        self._run_dag(spec["root"]["dag"]["tasks"], graph, values, results)
        return results

    def _run_dag(
        self,
        tasks: Mapping[str, Any],
        graph: _Graph,
        parameters: Mapping[str, Any],
        results: dict[str, NodeResult],
    ) -> None:
        """Run the tasks of a DAG; exit handlers run after a failure too."""
        exits = {name for name, task in tasks.items() if is_exit_handler(name, task)}
        try:
            for name, task in topological_order(
                {name: task for name, task in tasks.items() if name not in exits}
            ):
                self._run_task(name, task, graph, parameters, results)
        finally:
            for name in sorted(exits):
                self._run_task(name, tasks[name], graph, parameters, results)

    def _run_task(
        self,
        name: str,
        task: Mapping[str, Any],
        graph: _Graph,
        parameters: Mapping[str, Any],
        results: dict[str, NodeResult],
    ) -> None:
        component = graph.spec["components"][task["componentRef"]["name"]]
        inputs = task_inputs(task, {node: result.outputs for node, result in results.items()}, parameters)
        if "dag" in component:
            self._run_dag(component["dag"]["tasks"], graph, inputs.get("parameterValues", {}), results)
            return
        label = component["executorLabel"]
        executor = graph.spec["deploymentSpec"]["executors"][label]
        if set(executor) != {"container"}:
            raise UserError(f"{name}: Kubeflow runs containers only, not {', '.join(executor)}")
        container = _Container(
            name,
            component,
            {**executor["container"], "fields": graph.platform.get(label, {}).get("fieldPathAsEnv", ())},
            inputs,
        )
        is_cacheable = task.get("cachingOptions", {}).get("enableCache", False)
        self._on_start(name)
        try:
            results[name] = self._run_node(container, is_cacheable=is_cacheable, folder=graph.folder)
        except UserError:
            self._on_result(NodeResult(name, "failed"))
            raise
        self._on_result(results[name])

    def _run_node(self, container: _Container, *, is_cacheable: bool, folder: str) -> NodeResult:
        name = container.node
        entry = self._root / "cache" / f"{_cache_key(container)}.json"
        if is_cacheable and entry.is_file():
            return NodeResult(name, "cached", Outputs(**json.loads(entry.read_text(encoding="utf-8"))))
        outputs = self._run_container(container, folder=f"{folder}/{name}/{uuid.uuid4()}")
        if is_cacheable:
            atomic_write(entry, json.dumps(vars(outputs)))
        return NodeResult(name, "done", outputs)

    def _run_container(self, container: _Container, *, folder: str) -> Outputs:
        """Run a container between downloads and uploads; a folder holds the file system of its pod."""
        pod = self._run / container.node
        shutil.rmtree(pod, ignore_errors=True)
        pod.mkdir(parents=True)
        message = executor_input(container.component, container.inputs, folder=folder, pod=pod)
        for held in message["inputs"].get("artifacts", {}).values():
            for artifact in held["artifacts"]:
                self._buckets.download(artifact["uri"], in_pod(pod, artifact["uri"]))
        for held in message["outputs"]["artifacts"].values():
            for artifact in held["artifacts"]:
                in_pod(pod, artifact["uri"]).parent.mkdir(parents=True, exist_ok=True)
        (pod / PARAMETERS).mkdir(parents=True)
        self._run_process(container, message, pod)
        shutil.copyfile(pod / _LOG, in_pod(pod, f"{folder}/{LOGS}"))
        artifacts = output_artifacts(container.node, message)
        for artifact in artifacts.values():
            self._buckets.upload(in_pod(pod, artifact["uri"]), artifact["uri"])
        definitions = container.component.get("outputDefinitions", {}).get("parameters", {})
        parameters = {
            key: _parse(Path(value["outputFile"]).read_text(encoding="utf-8"), definitions[key])
            for key, value in message["outputs"].get("parameters", {}).items()
        }
        return Outputs(artifacts, parameters)

    def _run_process(self, container: _Container, message: Mapping[str, Any], pod: Path) -> None:
        spec = container.spec
        command = [substitute(word, message) for word in (*spec.get("command", ()), *spec.get("args", ()))]
        if command[0] == "python":
            command[0] = sys.executable
        log = pod / _LOG
        with log.open("w", encoding="utf-8") as stream:
            code = subprocess.run(
                command,
                env={
                    **os.environ,
                    **{item["name"]: item["value"] for item in spec.get("env", ())},
                    **{item["name"]: self._pod_field(item["fieldPath"]) for item in spec["fields"]},
                    ROOT_VARIABLE: str(pod),
                },
                stdout=stream,
                stderr=subprocess.STDOUT,
                check=False,
            ).returncode
        if code != 0:
            last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            raise UserError(f"{container.node} ended with code {code}: {last} (its whole log: {log})")

    def _pod_field(self, path: str) -> str:
        """Return the value of a pod's field."""
        if path != "metadata.labels['pipeline/runid']":
            raise UserError(f"the field {path} of a pod is not simulated")
        return self._run_id


@dataclass(frozen=True)
class _Graph:
    """Pipeline of a run.

    Attributes:
        spec: PipelineSpec.
        platform: KubernetesExecutorConfig messages as JSON, by executor.
        folder: URI of the folder for the run's artifacts.
    """

    spec: Mapping[str, Any]
    platform: Mapping[str, Any]
    folder: str


@dataclass(frozen=True)
class _Container:
    """Container of a node, and its inputs.

    Attributes:
        node: name of the node.
        component: ComponentSpec.
        spec: PipelineContainerSpec, with the `fieldPathAsEnv` of its pod as `fields`.
        inputs: ExecutorInput.Inputs.
    """

    node: str
    component: Mapping[str, Any]
    spec: Mapping[str, Any]
    inputs: dict[str, Any]


def _executors(platform: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = (
        platform.get("platforms", {}).get("kubernetes", {}).get("deploymentSpec", {}).get("executors", {})
    )
    return found


def _parse(text: str, definition: Mapping[str, Any]) -> Any:
    """Return the value of an output parameter, whose file holds JSON unless its type is STRING."""
    return text if definition["parameterType"] == "STRING" else json.loads(text)


def _cache_key(container: _Container) -> str:
    """Return a digest of the fields of the backend's key, which include no file contents."""
    artifacts = {
        name: [artifact["name"] for artifact in held["artifacts"]]
        for name, held in container.inputs.get("artifacts", {}).items()
    }
    key = {
        "container": {name: container.spec.get(name) for name in ("image", "command", "args")},
        "parameters": container.inputs.get("parameterValues", {}),
        "artifacts": artifacts,
        "outputs": container.component.get("outputDefinitions", {}),
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


class Buckets:
    """Buckets of the simulated object store, or real ones."""

    def __init__(self, folder: Path, *, real: bool = False) -> None:
        """Open the store.

        Args:
            folder: folder of the buckets, which are `<folder>/<scheme>/<name>`.
            real: use the server that the environment names for `s3://` and `gs://` URIs.
        """
        self._folder = folder
        self._real = real

    def download(self, uri: str, path: Path) -> None:
        """Copy an artifact, a file or folder, to a path; nothing is copied if it does not exist."""
        if self._real and object_uri(uri):
            download(uri, path)
        else:
            _copy(self._local(uri), path)

    def upload(self, path: Path, uri: str) -> None:
        """Copy a file or folder to the URI of an artifact; nothing is copied if it does not exist."""
        if self._real and object_uri(uri):
            upload(path, uri)
        else:
            _copy(path, self._local(uri))

    def _local(self, uri: str) -> Path:
        scheme, _, path = uri.partition("://")
        return self._folder / scheme / path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        shutil.copy2(source, target)
