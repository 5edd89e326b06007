"""Copies of an overlay: another namespace, a storage class, one machine without ReadWriteMany."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from overlays import OVERLAYS, ROOT, copy_manifests, copy_overlay

from pipeline.config.load import load_config

Objects = list[dict[str, Any]]


@pytest.fixture
def site(tool: Callable[[str], Path], tmp_path: Path) -> Callable[..., tuple[Path, Objects]]:
    """Render a copy of an overlay after an edit of its kustomization; return its folder and objects."""

    def render(overlay: str, edit: Callable[[str], str]) -> tuple[Path, Objects]:
        mine = copy_overlay(overlay, tmp_path, edit)
        return mine, _render(tool("kubectl"), mine)

    return render


def _render(kubectl: Path, folder: Path) -> Objects:
    done = subprocess.run([kubectl, "kustomize", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def _component(name: str) -> Callable[[str], str]:
    return lambda text: f"{text}components: [../../components/{name}]\n"


def _pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """Return the pods' specifications by the name of their Deployment or CronJob."""
    jobs = {"CronJob": lambda spec: spec["jobTemplate"]["spec"], "Deployment": lambda spec: spec}
    return {
        thing["metadata"]["name"]: jobs[thing["kind"]](thing["spec"])["template"]["spec"]
        for thing in objects
        if thing["kind"] in jobs
    }


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_one_edit_moves_an_overlay_to_another_namespace(overlay: str, site: Callable[..., Any]) -> None:
    mine, objects = site(overlay, lambda text: re.sub(r"(?m)^namespace: \S+", "namespace: pathology", text))
    assert {thing["metadata"]["namespace"] for thing in objects} == {"pathology"}
    (binding,) = (thing for thing in objects if thing["kind"] == "RoleBinding")
    assert [subject["namespace"] for subject in binding["subjects"]] == ["pathology"]
    assert load_config(mine).kubeflow.namespace == "pathology"
    job = _pods(objects)["knet-schedule"]["containers"][0]
    assert job["command"][-2:] == ["--namespace", "$(NAMESPACE)"]
    assert {"fieldRef": {"fieldPath": "metadata.namespace"}} in [v.get("valueFrom") for v in job["env"]]


@pytest.mark.parametrize("folder", ["base", "components", "flink", "tuner"])
def test_no_other_file_names_the_namespace(folder: str) -> None:
    for file in (ROOT / "k8s" / folder).rglob("*.yaml"):
        assert not re.search(r"(?m)^\s*namespace: ", file.read_text("utf-8")), file


# Programs that documented commands call, but that only a cluster and a registry could answer.
_STUBS = "".join(f"{name}() {{ :; }}\n" for name in ("docker", "git", "knet", "kubectl"))


def _documented_commands(page: str) -> list[str]:
    """Return the shell blocks of a page that edit manifests."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / "docs" / page).read_text("utf-8"), re.M | re.S)
    return [block for block in blocks if "k8s/overlays/mine" in block and ".venv" not in block]


def _run(commands: str, root: Path) -> None:
    script = f"set -eu\nIMAGE=registry.example.org/breakhis-knet\n{_STUBS}{commands}"
    done = subprocess.run(["bash", "-c", script], cwd=root, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_documented_steps_prepare_an_overlay(
    overlay: str, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    copy_manifests(tmp_path)
    (tmp_path / "token").write_text("secret")
    for commands in _documented_commands("deployment.md"):
        _run(commands.replace("overlays/dev", f"overlays/{overlay}"), tmp_path)
    mine = tmp_path / "k8s/overlays/mine"
    objects = _render(tool("kubectl"), mine)
    assert _own_images(objects) == {"registry.example.org/breakhis-knet:0.1.0"}
    assert load_config(mine).kubeflow.image.startswith("registry.example.org/breakhis-knet:0.1.0")
    (gateway,) = (thing for thing in objects if thing["kind"] == "Gateway")
    assert gateway["spec"]["listeners"][0]["hostname"] == "knet.hospital.example"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_documented_upgrade_changes_every_image(
    overlay: str, tool: Callable[[str], Path], tmp_path: Path
) -> None:
    copy_manifests(tmp_path)
    first = _documented_commands("deployment.md")[0].replace("overlays/dev", f"overlays/{overlay}")
    (upgrade,) = _documented_commands("kubeflow.md")
    _run(first, tmp_path)
    _run(upgrade, tmp_path)
    _run(upgrade.replace("OLD=0.1.0 NEW=0.2.0", "OLD=0.2.0 NEW=0.3.0"), tmp_path)  # and another one
    mine = tmp_path / "k8s/overlays/mine"
    assert _own_images(_render(tool("kubectl"), mine)) == {"registry.example.org/breakhis-knet:0.3.0"}
    assert load_config(mine).kubeflow.image.startswith("registry.example.org/breakhis-knet:0.3.0")


def _own_images(objects: Objects) -> set[str]:
    return {c["image"] for pod in _pods(objects).values() for c in pod["containers"] if "knet" in c["image"]}


def test_documented_changes_fit_other_clusters(tool: Callable[[str], Path], tmp_path: Path) -> None:
    storage_class, single_node = _documented_commands("clusters.md")
    for number, commands in enumerate((storage_class, single_node)):
        copy_manifests(tmp_path / str(number))
        _run("cp -r k8s/overlays/dev k8s/overlays/mine\n" + commands, tmp_path / str(number))
    objects = _render(tool("kubectl"), tmp_path / "0/k8s/overlays/mine")
    claims = [thing["spec"] for thing in objects if thing["kind"] == "PersistentVolumeClaim"]
    assert {claim["storageClassName"] for claim in claims} == {"nfs-client"}
    mine = tmp_path / "1/k8s/overlays/mine"
    label = {"knet-storage": "true"}
    assert _pods(_render(tool("kubectl"), mine))["knet-serving"]["nodeSelector"] == label
    assert load_config(mine).kubeflow.node_selector == label


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_keys_that_a_site_appends_are_free(overlay: str) -> None:
    """docs/deployment.md appends them; kustomize refuses a key that is there twice."""
    text = (ROOT / "k8s/overlays" / overlay / "kustomization.yaml").read_text("utf-8")
    assert not {"images", "components"} & set(yaml.safe_load(text))


def test_storage_class_is_named_in_one_place(site: Callable[..., Any]) -> None:
    _, objects = site("gpu", _component("storage-class"))
    classes = [t["spec"]["storageClassName"] for t in objects if t["kind"] == "PersistentVolumeClaim"]
    assert classes == ["shared-files"] * 4
    texts = [file.read_text("utf-8") for file in (ROOT / "k8s").rglob("*.yaml")]
    assert sum(text.count("shared-files") for text in texts) == 1


@pytest.mark.parametrize("overlay", ["dev", "gpu"])
def test_single_node_keeps_pods_with_volumes_on_one_machine(
    overlay: str, site: Callable[..., Any], objects: dict[str, Objects]
) -> None:
    _, changed = site(overlay, _component("single-node"))
    claims = [thing for thing in changed if thing["kind"] == "PersistentVolumeClaim"]
    assert [claim["spec"]["accessModes"] for claim in claims] == [["ReadWriteOnce"]] * 4
    before = _pods(objects[f"overlays/{overlay}"])
    for name, pod in _pods(changed).items():
        mounts_claim = any("persistentVolumeClaim" in volume for volume in pod["volumes"])
        label = {"knet-storage": "true"} if mounts_claim else {}
        assert pod.get("nodeSelector", {}) == {**before[name].get("nodeSelector", {}), **label}, name


def test_claims_are_equal_in_all_overlays(objects: dict[str, Objects]) -> None:
    """Kubernetes refuses another size of a claim that is not bound, and a smaller one always."""
    claims = [
        {t["metadata"]["name"]: t["spec"] for t in objects[f"overlays/{name}"] if "Claim" in t["kind"]}
        for name in OVERLAYS
    ]
    assert claims[0] and claims[0] == claims[1] == claims[2]
