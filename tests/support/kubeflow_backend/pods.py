"""Pods as processes: a container's command runs on this machine, with the files that its pod would have.

The launcher keeps artifacts in `/minio`, `/s3` and `/gcs`, and reads the account of its pod from a fixed
folder. They are made here, as root, and removed again.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fork_server import ForkServer

from kubeflow_backend.fake_argo import Container
from kubeflow_backend.fake_kubernetes import FakeKubernetes

NAMESPACE: Final = "kubeflow"
SCRATCH: Final = (Path("/minio"), Path("/s3"), Path("/gcs"))
ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LEFTOVER: Final = "leftover-of-a-killed-container"


def missing_permission() -> str | None:
    """Return why the folders of pods cannot be made on this machine, in one line, or None if they can."""
    for folder in (*SCRATCH, ACCOUNT):
        if folder.exists() and any(folder.iterdir()):
            return f"{folder} holds files, which the test would delete: move them, then run it again"
        parent = next(parent for parent in (folder, *folder.parents) if parent.exists())
        if not os.access(parent, os.W_OK):
            return f"the launcher needs {folder}, but {parent} is not writable: run the test as root"
    return None


@contextmanager
def pod_folders(certificate: Path) -> Iterator[None]:
    """Make the folders of pods, and remove them at the end.

    Args:
        certificate: of the Kubernetes API that the account belongs to.
    """
    made = next((folder for folder in (*reversed(ACCOUNT.parents), ACCOUNT) if not folder.exists()), ACCOUNT)
    for folder in (*SCRATCH, ACCOUNT):
        folder.mkdir(parents=True, exist_ok=True)
    (ACCOUNT / "token").write_text("token", "utf-8")
    (ACCOUNT / "namespace").write_text(NAMESPACE, "utf-8")
    shutil.copyfile(certificate, ACCOUNT / "ca.crt")
    try:
        yield
    finally:
        for folder in (*SCRATCH, made):
            shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class Addresses:
    """Ports on 127.0.0.1 of the services that driver and launcher call."""

    kubernetes: int
    pipelines: int
    metadata: int

    @property
    def options(self) -> dict[str, str]:
        """Options of driver and launcher, in place of names that a cluster's DNS would resolve."""
        return {
            "--ml_pipeline_server_address": "127.0.0.1",
            "--ml_pipeline_server_port": str(self.pipelines),
            "--mlmd_server_address": "127.0.0.1",
            "--mlmd_server_port": str(self.metadata),
        }


class Pods:
    """Runner of the containers of Argo's pods."""

    def __init__(
        self,
        api: FakeKubernetes,
        *,
        driver: Path,
        launcher: Path,
        addresses: Addresses,
        environment: Mapping[str, str],
        logs: Path,
    ) -> None:
        """Prepare pods.

        Args:
            api: holds the pods' objects.
            driver: program.
            launcher: program.
            addresses: of the services.
            environment: variables of every container.
            logs: folder for the log of each container.
        """
        self._api = api
        self._driver, self._launcher = str(driver), str(launcher)
        self._addresses = addresses
        self._environment = {
            **environment,
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(addresses.kubernetes),
        }
        self._logs = logs
        self._count = 0

    def run(self, container: Container, *, run_id: str) -> bool:
        """Run a container and return whether it succeeded.

        Args:
            container: of a driver or launcher.
            run_id: label of the pod.
        """
        self._count += 1
        name = f"pod-{self._count:03d}"
        pod = _pod(name, run_id, container.spec)
        self._api.put(NAMESPACE, "pods", pod)
        for entry in (entry for folder in SCRATCH for entry in folder.iterdir()):
            shutil.rmtree(entry)
        log = self._logs / f"{name}.{container.path.replace('/', '.')}.{container.attempt}.log"
        command = self._command(container, name)
        start = time.monotonic()
        with log.open("wb") as stream:
            code = subprocess.run(
                command,
                env={**self._environment, **_variables(container.spec, pod), "POD_NAMESPACE": NAMESPACE},
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=log.parent,
                check=False,
            ).returncode
        print(f"{time.monotonic() - start:6.1f} s, code {code}: {container.path}, {log}", flush=True)
        return code == 0

    def _command(self, container: Container, pod: str) -> list[str]:
        spec = container.spec
        is_driver = container.template.endswith("-driver")
        words = [*spec.get("command", [])[1:], *spec["args"]]
        words = [word.replace("$(KFP_POD_NAME)", pod).replace("$(KFP_POD_UID)", pod) for word in words]
        options = self._addresses.options
        words = [options.get(before, word) for before, word in zip(["", *words], words, strict=False)]
        # First those that the program would have a default for: a later one of the same name counts.
        defaults = [word for option in options.items() for word in option]
        return [self._driver if is_driver else self._launcher, *defaults, *words]


def _pod(name: str, run_id: str, container: Mapping[str, Any]) -> dict[str, Any]:
    image = container.get("image", "")
    status = {"name": "main", "image": image, "imageID": image}
    return {
        "apiVersion": "v1",
        "metadata": {"name": name, "uid": name, "labels": {"pipeline/runid": run_id}, "annotations": {}},
        "spec": {"containers": [{"name": "main", "image": image}]},
        "status": {"phase": "Running", "containerStatuses": [status]},
    }


def _variables(container: Mapping[str, Any], pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the environment variables of a container, with the fields of its pod."""
    metadata = pod["metadata"]
    fields = {
        "metadata.name": metadata["name"],
        "metadata.uid": metadata["uid"],
        "metadata.namespace": NAMESPACE,
        "metadata.labels['pipeline/runid']": metadata["labels"]["pipeline/runid"],
    }
    return {
        item["name"]: item["value"] if "value" in item else fields[item["valueFrom"]["fieldRef"]["fieldPath"]]
        for item in container.get("env", ())
        if "value" in item or "fieldRef" in item.get("valueFrom", {})
    }


_PROGRAM = """\
#!{python} -IS
import json, os, signal, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    message = {{"arguments": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()}}
    socket.send_fds(connection, [json.dumps(message).encode() + b"\\n"], [1, 2])
    code = int(connection.makefile().readline())
if code < 0:
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


class Python:
    """Program `python` of the containers: lets a process that has imported TFX run the command in a fork."""

    def __init__(self, folder: Path, server: ForkServer) -> None:
        """Write the program to a folder, which is then the first on the PATH of containers."""
        self.folder = folder
        self._server = server
        self._killed: str | None = None
        address = folder / "socket"
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(address))
        self._listener.listen()
        program = folder / "python"
        program.write_text(_PROGRAM.format(python=sys.executable, address=str(address)), "utf-8")
        program.chmod(0o755)
        threading.Thread(target=self._serve, daemon=True).start()

    def kill_next(self, node: str) -> None:
        """Let the next container of a node leave a file in each of its output artifacts, and then kill it."""
        self._killed = node

    def _serve(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            with connection:
                content, files, _, _ = socket.recv_fds(connection, 1 << 16, 2)
                while not content.endswith(b"\n"):
                    content += connection.recv(1 << 16)
                connection.sendall(b"%d\n" % self._run(json.loads(content), files))

    def _run(self, message: Mapping[str, Any], files: list[int]) -> int:
        with os.fdopen(files[0], "wb") as stdout, os.fdopen(files[1], "wb") as stderr:
            if message["env"].get("KNET_NODE") == self._killed:
                self._killed = None
                _leave_files(message["arguments"])
                return -9
            command = [sys.executable, *message["arguments"]]
            return self._server.run(
                command, env=message["env"], stdout=stdout, stderr=stderr, cwd=Path(message["cwd"])
            ).returncode


def _leave_files(arguments: list[str]) -> None:
    message = json.loads(next(word for word in arguments if '"outputs"' in word and '"outputFile"' in word))
    for name, held in message["outputs"]["artifacts"].items():
        if name != "executor-logs":
            folder = Path("/" + held["artifacts"][0]["uri"].replace("://", "/"))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / LEFTOVER).write_text("partial", "utf-8")
