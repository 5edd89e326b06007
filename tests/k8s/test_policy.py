"""Every overlay fits Kubernetes' schemas and follows security policies."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
CHECKOV = ROOT / "k8s" / "checkov.yaml"
OLDEST = 30  # of Kubernetes 1
# Not in Kubernetes' schemas; test_custom_resources.py checks their fields.
CUSTOM = {"FlinkDeployment", "InferenceService", "PodMonitor", "PrometheusRule", "ServiceMonitor"}
Objects = dict[str, list[dict[str, Any]]]


@pytest.mark.slow
def test_objects_fit_the_schemas_of_kubernetes(
    tool: Callable[[str], Path], rendered: dict[str, Path], objects: Objects
) -> None:
    validate = tool("kubernetes-validate")
    usage = subprocess.run([validate, "--help"], capture_output=True, text=True, check=True).stdout
    newest = int(re.search(r"Defaults to\s+1\.(\d+)", usage)[1])  # type: ignore[index]
    assert newest >= OLDEST
    kinds = [thing["kind"] for things in objects.values() for thing in things]
    standard = sum(kind not in CUSTOM for kind in kinds)
    for minor in range(OLDEST, newest + 1):
        done = subprocess.run(
            [validate, "-k", f"1.{minor}", "--strict", *rendered.values()], capture_output=True, text=True
        )
        output = done.stdout + done.stderr
        assert done.returncode == 0, output
        assert len(re.findall(r"^INFO .* passed for resource", output, re.MULTILINE)) == standard
        unknown = re.findall(r"Couldn't find schema for kind (\w+)", output)
        assert sorted(unknown) == sorted(kind for kind in kinds if kind in CUSTOM)


def test_unknown_field_fails_validation(
    tool: Callable[[str], Path], tmp_path: Path, objects: Objects
) -> None:
    deployment = _named(objects["overlays/dev"], "Deployment", "knet-serving")
    deployment = {**deployment, "spec": {**deployment["spec"], "replica": 2}}
    file = tmp_path / "wrong.yaml"
    file.write_text(yaml.safe_dump(deployment), "utf-8")
    done = subprocess.run(
        [tool("kubernetes-validate"), "-k", "1.30", "--strict", file], capture_output=True, text=True
    )
    assert done.returncode != 0 and "replica" in done.stdout + done.stderr


@pytest.mark.slow
def test_checkov_passes_with_exceptions(tool: Callable[[str], Path], rendered: dict[str, Path]) -> None:
    files = [word for file in rendered.values() for word in ("-f", str(file))]
    done = subprocess.run(
        [tool("checkov"), "--config-file", CHECKOV, *files],
        env={**os.environ, "BC_SKIP_MAPPING": "TRUE"},  # no network
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert re.search(r"Passed checks: [1-9]\d\d", done.stdout), done.stdout + done.stderr


def test_checkov_exceptions_have_reasons() -> None:
    lines = CHECKOV.read_text("utf-8").splitlines()
    exceptions = [line for line in lines if re.match(r"\s*- CKV", line)]
    assert exceptions and all(re.search(r" # \S+ \S+ \S+", line) for line in exceptions)


def test_pods_run_unprivileged(objects: Objects) -> None:
    for name, pod in _pods(objects):
        assert pod["automountServiceAccountToken"] is False, name
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
        for container in _containers(pod):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False, name
            assert security["capabilities"] == {"drop": ["ALL"]}, name
            # Flink's entrypoint writes its configuration into the image's folder.
            if container["name"] != "flink-main-container":
                assert security["readOnlyRootFilesystem"] is True, (name, container["name"])
                assert {"cpu", "memory"} <= set(container["resources"]["limits"]), (name, container["name"])


def test_pods_have_no_sidecar_of_istio(objects: Objects) -> None:
    """A job with one never ends, and the policies allow it no traffic."""
    for folder, things in objects.items():
        for name, labels in _labels(things):
            assert labels["sidecar.istio.io/inject"] == "false", (folder, name)


def test_images_have_versions(objects: Objects) -> None:
    images = {
        container["image"]
        for _, pod in _pods(objects)
        for container in _containers(pod)
        if container["name"] != "flink-main-container"  # FlinkDeployment.spec.image
    }
    assert images and all(re.search(r":\d+\.\d+[\w.-]*$", image) for image in images), images


def test_pods_refer_to_existing_objects(objects: Objects) -> None:
    for folder in ("overlays/dev", "overlays/gpu", "overlays/kserve", "overlays/production"):
        things = objects[folder]
        for name, pod in _pods({folder: things}):
            assert _named(things, "ServiceAccount", pod.get("serviceAccountName", "knet-flink"))
            for volume in pod.get("volumes", ()):
                if claim := volume.get("persistentVolumeClaim"):
                    assert _named(things, "PersistentVolumeClaim", claim["claimName"]), name
                if held := volume.get("configMap"):
                    assert _named(things, "ConfigMap", held["name"]), name


@pytest.mark.parametrize(
    "folder", ["overlays/dev", "overlays/gpu", "overlays/kserve", "overlays/production", "tuner"]
)
def test_pods_have_ingress_and_egress_policies(folder: str, objects: Objects) -> None:
    policies = [thing["spec"] for thing in objects[folder] if thing["kind"] == "NetworkPolicy"]
    for name, labels in _labels(objects[folder]):
        chosen = [
            policy for policy in policies if policy["podSelector"]["matchLabels"].items() <= labels.items()
        ]
        assert {kind for policy in chosen for kind in policy["policyTypes"]} == {"Ingress", "Egress"}, name
    # No policy selects the whole namespace, which is Kubeflow's.
    assert all(policy["podSelector"]["matchLabels"] for policy in policies)


def _named(things: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (thing for thing in things if thing["kind"] == kind and thing["metadata"]["name"] == name)
    return found


def _templates(things: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the pod templates, with kind and name of their objects."""
    for thing in things:
        name = f"{thing['kind']} {thing['metadata']['name']}"
        spec = thing.get("spec", {})
        if thing["kind"] in {"Deployment", "Job"}:
            yield name, spec["template"]
        elif thing["kind"] == "CronJob":
            yield name, spec["jobTemplate"]["spec"]["template"]
        elif thing["kind"] == "FlinkDeployment":
            # The operator merges the templates by position.
            common, own = spec["podTemplate"], spec["taskManager"]["podTemplate"]["spec"]
            both = {
                **common["spec"],
                "containers": [*common["spec"]["containers"], *own["containers"][1:]],
                "volumes": own["volumes"],
            }
            yield name, {"metadata": common["metadata"], "spec": both}
        elif thing["kind"] == "InferenceService":
            model = {"image": f"tensorflow/serving:{spec['predictor']['model']['runtimeVersion']}"}
            model |= {"name": "kserve-container", **spec["predictor"]["model"]}
            # Knative refuses a security context of the pod; that of its only container has the same fields.
            pod = {**spec["predictor"], "containers": [model], "securityContext": model["securityContext"]}
            yield name, {"metadata": {"labels": pod["labels"]}, "spec": pod}


def _pods(objects: Objects) -> Iterator[tuple[str, dict[str, Any]]]:
    found = [(name, template["spec"]) for things in objects.values() for name, template in _templates(things)]
    assert len(found) >= len(objects)
    yield from found


def _labels(things: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, str]]]:
    yield from ((name, template["metadata"]["labels"]) for name, template in _templates(things))


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", ()), *pod["containers"]]
