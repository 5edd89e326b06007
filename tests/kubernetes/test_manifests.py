"""The manifests of k8s and of the documentation on a real API server, under Pod Security `restricted`."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from doc_manifests import doc_manifests
from kubernetes_api import Cluster
from overlays import OVERLAYS, ROOT, copy_overlay

pytestmark = pytest.mark.kubernetes
Objects = list[dict[str, Any]]
_GOLDEN = ROOT / "tests/pipeline/kubeflow/production.golden.yaml"
_COMPONENTS = sorted(folder.name for folder in (ROOT / "k8s/components").iterdir())


def _renamed(namespace: str, components: str = "") -> Callable[[str], str]:
    """Return the edit that names the namespace, and a component, in a copy of an overlay."""
    return lambda text: re.sub(r"(?m)^namespace: \S+", f"namespace: {namespace}", text) + components


def _templates(objects: Objects) -> Iterator[dict[str, Any]]:
    """Yield the pods that controllers would create."""
    for thing in objects:
        spec = thing.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if thing["kind"] in {"CronJob", "Deployment", "Job"}:
            name = f"pod-of-{thing['metadata']['name']}"
            yield {"apiVersion": "v1", "kind": "Pod", **spec["template"], "metadata": {"name": name}}


def _create_pods(cluster: Cluster, namespace: str, objects: Objects) -> None:
    for pod in _templates(objects):
        cluster.kubectl("create", "-n", namespace, "-f", "-", objects=[pod])


@pytest.mark.parametrize("overlay", [*OVERLAYS, "kserve"])
def test_overlay_and_its_pods(overlay: str, cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    objects = cluster.render(copy_overlay(overlay, tmp_path, _renamed(namespace)))
    cluster.apply(objects)
    _create_pods(cluster, namespace, objects)


@pytest.mark.parametrize("component", _COMPONENTS)
def test_component_in_the_dev_overlay(
    component: str, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    edit = _renamed(namespace, f"components: [../../components/{component}]\n")
    objects = cluster.render(copy_overlay("dev", tmp_path, edit))
    cluster.apply(objects)
    _create_pods(cluster, namespace, objects)


@pytest.mark.parametrize("folder", ["flink", "tuner"])
def test_folder_and_its_pods(folder: str, cluster: Cluster, namespace: str) -> None:
    objects = cluster.render(ROOT / "k8s" / folder)
    cluster.apply(objects, "-n", namespace)
    _create_pods(cluster, namespace, objects)


def test_every_change_of_overlay(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """No claim is bound here, so a change of its size would be refused."""
    rendered = {
        overlay: cluster.render(copy_overlay(overlay, tmp_path / overlay, _renamed(namespace)))
        for overlay in OVERLAYS
    }
    for before, after in itertools.permutations(OVERLAYS, 2):
        cluster.apply(rendered[before])
        cluster.apply(rendered[after])


@pytest.mark.parametrize("page", doc_manifests())
def test_manifests_of_the_documentation(page: str, cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    cluster.apply(cluster.render(copy_overlay("dev", tmp_path, _renamed(namespace))))
    cluster.apply(doc_manifests()[page], "-n", namespace)


def test_unprotected_pod_is_refused(cluster: Cluster, namespace: str) -> None:
    container = {"name": "copy", "image": "busybox:1.37.0"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"containers": [container]}}
    message = cluster.kubectl("create", "-n", namespace, "-f", "-", objects=[pod], fails=True)
    assert 'violates PodSecurity "restricted' in message


def test_accounts_have_the_permissions_of_their_role_only(
    cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    objects = cluster.render(copy_overlay("production", tmp_path, _renamed(namespace)))
    cluster.apply([*objects, *cluster.render(ROOT / "k8s/tuner")], "-n", namespace)
    accounts = {"knet-flink", "knet-schedule", "knet-serving", "knet-tuner"}
    listed = cluster.kubectl("get", "serviceaccounts", "-n", namespace, "-o", "name").split()
    assert set(listed) == {f"serviceaccount/{name}" for name in (*accounts, "default")}
    (role,) = (thing for thing in objects if thing["kind"] == "Role")
    everyone = cluster.rules("nobody", namespace)
    own = {name: cluster.rules(name, namespace) - everyone for name in accounts}
    assert own.pop("knet-schedule") == {
        one
        for rule in role["rules"]
        for one in itertools.product(rule["verbs"], rule["apiGroups"], rule["resources"])
    }
    assert own == {name: set() for name in own}


def test_nodes_of_the_pipeline_fit_a_resource_quota(cluster: Cluster, namespace: str) -> None:
    """Requests are those that Kubeflow's driver writes; Argo's containers need the documented LimitRange."""
    amounts = {"cpu": "2000", "memory": "2000Gi"}
    hard = {f"{kind}.{name}": amount for kind in ("requests", "limits") for name, amount in amounts.items()}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "all"}, "spec": {"hard": hard}}
    cluster.apply([quota], "-n", namespace)
    used = dict.fromkeys(hard, "0")
    patch = yaml.safe_dump({"status": {"hard": hard, "used": used}})  # a controller writes it on a cluster
    cluster.kubectl(
        *("patch", "resourcequota/all", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)
    )
    nodes = {
        name: node["container"]["resources"]
        for name, node in yaml.safe_load(_GOLDEN.read_text("utf-8"))["nodes"].items()
        if "container" in node
    }
    assert {"RunStart", "Transform", "Trainer-resnet152", "RunEnd"} <= set(nodes)
    message = cluster.kubectl(
        "create", "-n", namespace, "-f", "-", objects=[_node_pod("RunStart", nodes["RunStart"])], fails=True
    )
    assert "must specify" in message and "for: wait" in message and "main" not in message
    limits = [t for things in doc_manifests().values() for t in things if t["kind"] == "LimitRange"]
    assert len(limits) == 1
    cluster.apply(limits, "-n", namespace)
    for name, resources in nodes.items():
        cluster.kubectl("create", "-n", namespace, "-f", "-", objects=[_node_pod(name, resources)])


def _node_pod(node: str, resources: dict[str, Any]) -> dict[str, Any]:
    """Return the pod of a node, with the container `wait` of Argo, which has no requests."""
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    limits = {"cpu": str(resources["cpuLimit"]), "memory": f"{resources['memoryLimit']}G"}
    requests = {"cpu": str(resources["cpuRequest"]), "memory": f"{resources['memoryRequest']}G"}
    if accelerator := resources.get("accelerator"):
        limits[accelerator["type"]] = accelerator["count"]
    main = {"name": "main", "image": "breakhis-knet", "resources": {"limits": limits, "requests": requests}}
    wait = {"name": "wait", "image": "argoexec"}
    containers = [{**container, "securityContext": security} for container in (main, wait)]
    spec = {"containers": containers, "automountServiceAccountToken": False}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": node.lower()}, "spec": spec}
