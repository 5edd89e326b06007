"""A real Kubernetes API server for the session, and a namespace for each test."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kubernetes_api import PROGRAMS, Cluster, running_cluster


@pytest.fixture(scope="session")
def cluster(tool: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    for name, source in PROGRAMS.items():
        if shutil.which(name) is None:
            # One line; a skip would be one for each test.
            pytest.exit(f"skipped: no {name} on this machine ({source})", returncode=0)
    with running_cluster(tool("kubectl"), tmp_path_factory.mktemp("kubernetes")) as running:
        yield running


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> str:
    """Name of a new namespace, which accepts and warns by the Pod Security standard `restricted`."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_")).strip("-")[:63].strip("-")
    security = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    cluster.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": security}},
            # A controller makes it on a cluster.
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": name},
            },
        ]
    )
    return name
