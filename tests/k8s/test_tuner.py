"""Manifests of a search agree with each other, the code and the configuration."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.kubeflow import KubeflowConfig
from pipeline.config.load import load_config

GPU = Path(__file__).resolve().parents[2] / "k8s" / "overlays" / "gpu"
NAMES = {"KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT"}


@pytest.fixture(scope="module")
def search(objects: dict[str, list[dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the objects by kind, Jobs by name."""
    return {
        thing["metadata"]["name"].removeprefix("knet-tuner-")
        if thing["kind"] == "Job"
        else thing["kind"]: thing
        for thing in objects["tuner"]
    }


def container(job: dict[str, Any]) -> dict[str, Any]:
    (found,) = job["spec"]["template"]["spec"]["containers"]
    return found


def environment(job: dict[str, Any]) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in container(job)["env"]}


def test_chief_and_workers_run_the_worker_module(search: dict[str, Any]) -> None:
    for name in ("chief", "workers"):
        python, flag, module, folder = container(search[name])["command"]
        assert (python, flag) == ("python", "-m")
        assert importlib.util.find_spec(module) is not None
        assert folder == f"{KubeflowConfig().checkpoints}/searches"
        assert set(environment(search[name])) >= NAMES


def test_workers_address_the_service_of_the_chief(search: dict[str, Any]) -> None:
    service, chief, workers = search["Service"], environment(search["chief"]), environment(search["workers"])
    assert workers["KERASTUNER_ORACLE_IP"] == service["metadata"]["name"]
    (port,) = service["spec"]["ports"]
    assert str(port["port"]) == workers["KERASTUNER_ORACLE_PORT"] == chief["KERASTUNER_ORACLE_PORT"]
    labels = search["chief"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    others = search["workers"]["spec"]["template"]["metadata"]["labels"]
    assert not service["spec"]["selector"].items() <= others.items()
    assert "chief" in chief["KERASTUNER_TUNER_ID"]


def test_pods_fit_the_gpu_overlay(search: dict[str, Any]) -> None:
    kubeflow = load_config(GPU / "knet.yaml").kubeflow
    assert kubeflow.tuner_pods
    mounts = {mount["mountPath"] for mount in container(search["workers"])["volumeMounts"]}
    assert {"/data", "/cache", kubeflow.shared_dir} <= mounts
    assert environment(search["workers"])["KERAS_HOME"] == kubeflow.env["KERAS_HOME"]
    claims = {
        volume["persistentVolumeClaim"]["claimName"]
        for volume in search["workers"]["spec"]["template"]["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims <= {volume.claim for volume in kubeflow.volumes}
    assert container(search["workers"])["image"] == container(search["chief"])["image"] == kubeflow.image
    assert "nvidia.com/gpu" in container(search["workers"])["resources"]["limits"]
    assert "nvidia.com/gpu" not in container(search["chief"])["resources"]["limits"]
