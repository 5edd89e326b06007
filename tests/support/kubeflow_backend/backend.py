"""Backend of Kubeflow Pipelines on one machine: its programs, a database, an S3 server and ML Metadata."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from free_ports import free_ports
from google.protobuf import json_format, struct_pb2
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto.metadata_store_pb2 import MetadataStoreClientConfig

from kubeflow_backend.fake_argo import Result, Walk
from kubeflow_backend.fake_kubernetes import FakeKubernetes
from kubeflow_backend.pods import NAMESPACE, Addresses, Pods, Python, pod_folders

_PACKAGES: Final = {
    "driver": "./backend/src/v2/cmd/driver",
    "launcher-v2": "./backend/src/v2/cmd/launcher-v2",
    "apiserver": "./backend/src/apiserver",
    "swf": "./backend/src/crd/controller/scheduledworkflow",
}
_SECRET: Final = "mlpipeline-minio-artifact"
BUCKET: Final = "mlpipeline"


def build_programs(checkout: Path) -> None:
    """Build driver, launcher, API server and the controller of schedules into `bin/`, unless they are there.

    Args:
        checkout: of kubeflow/pipelines at a tag.
    """
    for name, package in _PACKAGES.items():
        if not (checkout / "bin" / name).is_file():
            subprocess.run(["go", "build", "-o", f"bin/{name}", package], cwd=checkout, check=True)


@dataclass(frozen=True)
class S3:
    """S3 server, with its keys."""

    port: int
    access_key: str
    secret_key: str


@dataclass
class Backend:
    """Running backend.

    Attributes:
        url: of the API server.
        api: Kubernetes.
        pods: run the containers of workflows.
        python: program of the containers.
        folder: for the outputs of workflows.
        metadata: port of ML Metadata.
    """

    url: str
    api: FakeKubernetes
    pods: Pods
    python: Python
    folder: Path
    metadata: int
    _walked: set[str] = field(default_factory=set)

    def walk_new_workflow(self, *, seconds: float = 10) -> Run:
        """Run the workflow that the server made last, as Argo would.

        Args:
            seconds: how long to wait for it.
        """
        deadline = time.monotonic() + seconds
        while not (new := self._new_workflows()):
            assert time.monotonic() < deadline, "the server made no workflow"
            time.sleep(0.2)
        (workflow,) = new
        name, run_id = workflow["metadata"]["name"], workflow["metadata"]["labels"]["pipeline/runid"]
        self._walked.add(name)
        self._report(name, "Running")
        walk = Walk(
            workflow, lambda container: self.pods.run(container, run_id=run_id), outputs=self.folder / name
        )
        state = walk.run()
        self._report(name, state)
        return Run(run_id, state, walk.results)

    def _report(self, name: str, state: str) -> None:
        """Set the state of a workflow, and report it to the server as Kubeflow's persistence agent does."""
        item = self.api.get(NAMESPACE, "workflows", name)
        assert item
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        item["status"] = {
            "phase": state,
            "startedAt": item["metadata"]["creationTimestamp"],
            "finishedAt": None if state == "Running" else now,
        }
        self.api.put(NAMESPACE, "workflows", item)
        request = urllib.request.Request(
            f"{self.url}/apis/v2beta1/workflows",
            data=json.dumps(json.dumps(item)).encode(),
            headers={"Content-Type": "application/json"},
        )
        urllib.request.urlopen(request).close()

    def _new_workflows(self) -> list[dict[str, Any]]:
        made = self.api.list(NAMESPACE, "workflows")
        return [workflow for workflow in made if workflow["metadata"]["name"] not in self._walked]

    def schedules(self) -> list[dict[str, Any]]:
        """Return the ScheduledWorkflow objects."""
        return self.api.list(NAMESPACE, "scheduledworkflows")

    def visualizations(self, run: Run) -> dict[tuple[str, str], Visualization]:
        """Return the artifacts of a run that the web interface shows, by node and name."""
        store = MetadataStore(MetadataStoreClientConfig(host="127.0.0.1", port=self.metadata))
        types = {found.id: found.name for found in store.get_artifact_types()}
        context = store.get_context_by_type_and_name("system.PipelineRun", run.id)
        shown = {}
        for artifact in store.get_artifacts_by_context(context.id):
            kind = types[artifact.type_id]
            if kind.startswith("system.") and kind != "system.Artifact":
                *_, node, _, name = artifact.uri.split("/")
                properties = {key: _property(value) for key, value in artifact.custom_properties.items()}
                shown[node, name] = Visualization(kind, artifact.uri, properties)
        return shown


@dataclass(frozen=True)
class Visualization:
    """Artifact that the web interface shows.

    Attributes:
        kind: its type, such as `system.HTML`.
        uri: of its file.
        properties: its metadata by name.
    """

    kind: str
    uri: str
    properties: Mapping[str, Any]


def _property(value: Any) -> Any:
    found = getattr(value, value.WhichOneof("value"))
    return json_format.MessageToDict(found) if isinstance(found, struct_pb2.Struct) else found


@dataclass(frozen=True)
class Run:
    """Run of a workflow.

    Attributes:
        id: Kubeflow's id.
        state: of the workflow.
        results: of its tasks, by path.
    """

    id: str
    state: str
    results: Mapping[str, Result]

    def attempts(self, node: str) -> int:
        """Return the number of containers of a node."""
        return self.results[f"root/Graph/{node}/executor"].attempts

    def states(self) -> dict[str, str]:
        """Return the states of the nodes: done, cached, failed, or omitted."""
        words = {"Succeeded": "done", "Skipped": "cached", "Failed": "failed", "Omitted": "omitted"}
        found = {}
        for path, result in self.results.items():
            *folders, last = path.split("/")
            if last == "executor":
                found[folders[-1]] = words[result.state]
            elif result.state == "Omitted" and not last.endswith("-driver"):
                found[last] = words[result.state]
        return found


@contextmanager
def running_backend(
    checkout: Path,
    *,
    folder: Path,
    s3: S3,
    python: Python,
    program: Callable[..., Path],
    environment: Mapping[str, str],
) -> Iterator[Backend]:
    """Start the backend.

    Args:
        checkout: of kubeflow/pipelines, with built programs.
        folder: for state and logs.
        s3: the server of the artifacts.
        python: program of the containers.
        program: finds programs of Debian packages.
        environment: variables of all processes.
    """
    database, rest, rpc, metadata, metrics = free_ports(5)
    certificate, key = _make_certificate(folder, program("openssl", package="openssl"))
    api = FakeKubernetes()
    _put_settings(api, s3)
    with ExitStack() as stack:
        kubernetes = stack.enter_context(api.serving(certificate=certificate, key=key))
        stack.enter_context(pod_folders(certificate))
        addresses = Addresses(kubernetes=kubernetes, pipelines=rpc, metadata=metadata)
        cluster = {
            **environment,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(kubernetes),
            "POD_NAMESPACE": NAMESPACE,
            "CRON_SCHEDULE_TIMEZONE": "UTC",
            "V2_LAUNCHER_IMAGE": "launcher",
            "V2_DRIVER_IMAGE": "driver",
            "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_HOST": "127.0.0.1",
            "ML_PIPELINE_VISUALIZATIONSERVER_SERVICE_PORT": str(metrics),
        }

        def start(name: str, *command: object, port: int | None) -> None:
            stack.enter_context(_process(name, command, folder=folder, environment=cluster, port=port))

        _start_database(folder, database, program=program, start=start)
        server = Path(__file__).with_name("mlmd_server.py")
        start("mlmd", sys.executable, server, metadata, folder / "mlmd.sqlite", port=metadata)
        _write_server_config(checkout, folder, database=database, s3=s3)
        start(
            "apiserver",
            checkout / "bin" / "apiserver",
            f"--config={folder}",
            f"--sampleconfig={folder / 'samples.json'}",
            "--logtostderr=true",
            f"--rpcPortFlag=:{rpc}",
            f"--httpPortFlag=:{rest}",
            port=rest,
        )
        _wait_for_health(rest)
        controller = checkout / "bin" / "swf"
        usage = subprocess.run([controller, "-h"], capture_output=True, text=True).stderr
        has_metrics = "-metricsPort" in usage  # 2.15.0 has not
        start(
            "swf",
            controller,
            "--logtostderr=true",
            f"--namespace={NAMESPACE}",
            "--mlPipelineAPIServerName=127.0.0.1",
            f"--mlPipelineServiceGRPCPort={rpc}",
            *([f"--metricsPort={metrics}"] if has_metrics else []),
            port=metrics if has_metrics else None,
        )
        logs = folder / "logs"
        logs.mkdir()
        pods = Pods(
            api,
            driver=checkout / "bin" / "driver",
            launcher=checkout / "bin" / "launcher-v2",
            addresses=addresses,
            environment={**environment, "PATH": f"{python.folder}:{environment['PATH']}"},
            logs=logs,
        )
        yield Backend(f"http://127.0.0.1:{rest}", api, pods, python, folder / "outputs", metadata)


def _make_certificate(folder: Path, openssl: Path) -> tuple[Path, Path]:
    certificate, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-keyout", key, "-out", certificate, "-subj", "/CN=127.0.0.1"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


def _put_settings(api: FakeKubernetes, s3: S3) -> None:
    """Create the objects that the launcher reads: the address of the object store, and its keys."""
    keys = {"accesskey": s3.access_key, "secretkey": s3.secret_key}
    data = {name: base64.b64encode(value.encode()).decode() for name, value in keys.items()}
    api.put(NAMESPACE, "secrets", {"apiVersion": "v1", "metadata": {"name": _SECRET}, "data": data})
    store = {
        "endpoint": f"127.0.0.1:{s3.port}",
        "disableSSL": True,
        "forcePathStyle": True,
        "region": "us-east-1",
        "credentials": {
            "fromEnv": False,
            "secretRef": {
                "secretName": _SECRET,
                "accessKeyKey": "accesskey",
                "secretKeyKey": "secretkey",
            },
        },
    }
    settings = {
        "defaultPipelineRoot": f"minio://{BUCKET}/v2/artifacts",
        "providers": json.dumps({"minio": {"default": store}}),
    }
    metadata = {"name": "kfp-launcher"}
    api.put(NAMESPACE, "configmaps", {"apiVersion": "v1", "metadata": metadata, "data": settings})


def _start_database(
    folder: Path, port: int, *, program: Callable[..., Path], start: Callable[..., None]
) -> None:
    data = folder / "database"
    install, server = (program(name, package="mariadb-server") for name in ("mariadb-install-db", "mariadbd"))
    options = ["--no-defaults", "--user=root", f"--datadir={data}"]
    subprocess.run(
        [install, *options, "--auth-root-authentication-method=normal", "--skip-test-db"],
        check=True,
        capture_output=True,
    )
    start(
        *("database", server, *options, f"--socket={data / 'socket'}", "--bind-address=127.0.0.1"),
        f"--port={port}",
        port=port,
    )


def _write_server_config(checkout: Path, folder: Path, *, database: int, s3: S3) -> None:
    """Write the API server's configuration: that of the checkout, with the addresses of this machine."""
    file = checkout / "backend" / "src" / "apiserver" / "config" / "config.json"
    config = json.loads(file.read_text("utf-8"))
    config.pop("plugins", None)
    config["DBConfig"]["MySQLConfig"] |= {
        "Host": "127.0.0.1",
        "Port": str(database),
        "User": "root",
        "Password": "",
    }
    config["ObjectStoreConfig"] |= {
        "AccessKey": s3.access_key,
        "SecretAccessKey": s3.secret_key,
        "BucketName": BUCKET,
        "Host": "127.0.0.1",
        "Port": str(s3.port),
        "Secure": False,
        "Region": "us-east-1",
    }
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    (folder / "samples.json").write_text('{"pipelines": []}', "utf-8")


@contextmanager
def _process(
    name: str, command: tuple[object, ...], *, folder: Path, environment: Mapping[str, str], port: int | None
) -> Iterator[None]:
    """Run a service, from when its port, if any, answers."""
    log = folder / f"{name}.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [str(word) for word in command],
            env=environment,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=folder,
        )
        try:
            deadline = time.monotonic() + 120
            while port and not _answers(port):
                assert process.poll() is None and time.monotonic() < deadline, (
                    f"{name} does not start: {log.read_text('utf-8')[-2000:]}"
                )
                time.sleep(0.2)
            yield
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    with closing(socket.socket()) as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def _wait_for_health(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/apis/v2beta1/healthz"):
            return
        time.sleep(0.2)
    raise AssertionError("the API server is not healthy")
