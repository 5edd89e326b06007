"""A real Kubernetes API server, built from Go modules, with etcd and without controllers.

Schemas, defaults, immutability, RBAC, Pod Security admission and server-side apply are real. No pod is
scheduled, no volume bound, no status written. The definitions of custom resources are those of their
projects, from Go modules too, except for that of Flink, whose operator is no Go module.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from free_ports import free_ports

_ROOT = Path(__file__).resolve().parents[2]
_MODULE = _ROOT / "tests" / "kubernetes"  # with go.mod
_SERVER = _ROOT / ".tools" / "kube-apiserver"
_TOKEN = "admin-of-the-test"
_SECONDS_TO_START = 120
PROGRAMS = {
    "go": "https://go.dev/dl, 1.26 or later; it builds kube-apiserver",
    "etcd": "Debian: apt-get install etcd-server",
}
# Module and folder of the definitions, and the resources in them that the manifests use.
_DEFINITIONS = {
    ("github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd"): (
        "podmonitors",
        "servicemonitors",
        "prometheusrules",
    ),
    ("sigs.k8s.io/gateway-api@v1.5.0", "config/crd/standard"): ("gateways", "grpcroutes"),
    ("github.com/kserve/kserve@v0.17.0", "config/crd/full"): ("inferenceservices",),
    ("github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/generated"): (
        "securitypolicies",
    ),
}
_FLINK = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "flinkdeployments.flink.apache.org"},
    "spec": {
        "group": "flink.apache.org",
        "names": {"kind": "FlinkDeployment", "plural": "flinkdeployments"},
        "scope": "Namespaced",
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                },
            }
        ],
    },
}


@dataclass(frozen=True)
class Cluster:
    """The API server, through kubectl."""

    program: Path
    config: Path

    def kubectl(
        self, *arguments: str | Path, objects: list[dict[str, Any]] | None = None, fails: bool = False
    ) -> str:
        """Return what kubectl prints; `objects` are its standard input.

        Raises:
            AssertionError: it failed, or with `fails` it did not.
        """
        done = subprocess.run(
            [self.program, f"--kubeconfig={self.config}", *arguments],
            input=yaml.safe_dump_all(objects) if objects is not None else None,
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == fails, done.stderr or done.stdout
        return done.stdout + done.stderr if fails else done.stdout

    def apply(self, objects: list[dict[str, Any]], *arguments: str) -> str:
        """Apply objects; a warning of the server is an error."""
        return self.kubectl(
            *("apply", "--server-side", "--warnings-as-errors", "-f", "-", *arguments), objects=objects
        )

    def render(self, folder: Path) -> list[dict[str, Any]]:
        """Return the objects of a kustomization."""
        return list(yaml.safe_load_all(self.kubectl("kustomize", folder)))

    def rules(self, account: str, namespace: str) -> set[tuple[str, str, str]]:
        """Return what a service account may do in a namespace: verb, API group and resource."""
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
        answer = self.kubectl(
            *("create", "-f", "-", "-o", "json", "--validate=false"),
            f"--as=system:serviceaccount:{namespace}:{account}",
            *("--as-group=system:serviceaccounts", "--as-group=system:authenticated"),
            objects=[{**review, "spec": {"namespace": namespace}}],
        )
        return {
            one
            for rule in json.loads(answer)["status"]["resourceRules"]
            for one in itertools.product(rule["verbs"], rule["apiGroups"], rule["resources"])
        }


@contextlib.contextmanager
def running_cluster(kubectl: Path, folder: Path) -> Iterator[Cluster]:
    """Build the API server if it is missing, and yield it with the definitions of custom resources.

    Args:
        kubectl: the program.
        folder: for data, keys and logs.
    """
    _build_server()
    store, peers, port = free_ports(3)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(_client_config(f"https://127.0.0.1:{port}")), "utf-8")
    cluster = Cluster(kubectl, config)
    log = folder / "log"
    with log.open("w") as stream:
        processes = [
            subprocess.Popen(command, stdout=stream, stderr=stream, cwd=folder)
            for command in (
                _etcd_command(folder, f"http://127.0.0.1:{store}", f"http://127.0.0.1:{peers}"),
                _server_command(folder, f"http://127.0.0.1:{store}", port),
            )
        ]
    try:
        _wait_until_ready(cluster, processes, log)
        _define_resources(cluster)
        yield cluster
    finally:
        for process in processes:
            process.kill()  # the server would wait for open connections
        for process in processes:
            process.wait()


def _build_server() -> None:
    """Build kube-apiserver of the version in go.mod, unless it is there. Minutes, when nothing is cached."""
    text = (_MODULE / "go.mod").read_text("utf-8")
    version = re.search(r"k8s.io/kubernetes (v(\d+)\.(\d+)\S+)", text)
    assert version
    if _SERVER.exists() and version[1] in subprocess.check_output([_SERVER, "--version"], text=True):
        return
    package = "k8s.io/component-base/version"
    names = {"gitVersion": version[1], "gitMajor": version[2], "gitMinor": version[3]}
    flags = " ".join(f"-X {package}.{name}={value}" for name, value in names.items())
    subprocess.run(
        ["go", "build", f"-ldflags={flags}", "-o", _SERVER, "k8s.io/kubernetes/cmd/kube-apiserver"],
        cwd=_MODULE,
        check=True,
    )


def _client_config(url: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "admin", "user": {"token": _TOKEN}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }


def _etcd_command(folder: Path, clients: str, peers: str) -> list[str | Path]:
    return [
        *("etcd", f"--data-dir={folder / 'etcd'}", f"--initial-cluster=default={peers}"),
        *(f"--listen-client-urls={clients}", f"--advertise-client-urls={clients}"),
        *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
    ]


def _server_command(folder: Path, store: str, port: int) -> list[str | Path]:
    key = folder / "accounts.key"
    key.write_bytes(
        rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    tokens = folder / "tokens.csv"
    tokens.write_text(f'{_TOKEN},admin,admin,"system:masters"\n', "utf-8")
    return [
        *(_SERVER, f"--etcd-servers={store}", f"--cert-dir={folder / 'certificates'}"),
        *("--bind-address=127.0.0.1", f"--secure-port={port}", "--service-cluster-ip-range=10.0.0.0/24"),
        *(f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}"),
        *("--service-account-issuer=https://kubernetes.default.svc", "--authorization-mode=RBAC"),
        f"--token-auth-file={tokens}",
    ]


def _wait_until_ready(cluster: Cluster, processes: list[subprocess.Popen[bytes]], log: Path) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    command: list[str | Path] = [cluster.program, f"--kubeconfig={cluster.config}", "get", "--raw", "/readyz"]
    while subprocess.run(command, capture_output=True).returncode != 0:
        alive = all(process.poll() is None for process in processes)
        assert alive and time.monotonic() < deadline, log.read_text("utf-8")[-4000:]
        time.sleep(1)


def _define_resources(cluster: Cluster) -> None:
    for (module, folder), resources in _DEFINITIONS.items():
        answer = subprocess.run(
            ["go", "mod", "download", "-json", module],
            cwd=cluster.config.parent,  # in no module
            capture_output=True,
            text=True,
            check=True,
        )
        for resource in resources:
            (file,) = (Path(json.loads(answer.stdout)["Dir"]) / folder).glob(f"*_{resource}.yaml")
            cluster.kubectl("apply", "--server-side", "-f", file)
    cluster.apply([_FLINK])
    cluster.kubectl(
        "wait", "--for=condition=established", "--timeout=60s", "customresourcedefinitions", "--all"
    )
