"""Manifests of TF Serving agree with each other and with the files of knet/serving/config."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from knet.serving.memory import peak_bytes
from knet.serving.models_config import read_batching, read_models_config
from pipeline.config.load import load_config

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "knet" / "serving" / "config"
Objects = dict[str, list[dict[str, Any]]]
pytestmark = pytest.mark.parametrize("folder", ["overlays/dev", "overlays/gpu", "overlays/production"])


def _object(objects: Objects, folder: str, kind: str, prefix: str = "knet-serving") -> dict[str, Any]:
    return next(
        thing
        for thing in objects[folder]
        if thing["kind"] == kind and thing["metadata"]["name"].startswith(prefix)
    )


def _pod(objects: Objects, folder: str) -> dict[str, Any]:
    pod: dict[str, Any] = _object(objects, folder, "Deployment")["spec"]["template"]["spec"]
    return pod


def test_config_map_has_the_files_of_the_library(folder: str, objects: Objects) -> None:
    volumes = {volume["name"]: volume for volume in _pod(objects, folder)["volumes"]}
    held = _object(objects, folder, "ConfigMap", volumes["config"]["configMap"]["name"])["data"]
    for file in ("models.config", "batching_parameters.txt", "monitoring.config"):
        assert held[file] == (CONFIG / file).read_text("utf-8")


def test_server_model_sync_and_config_use_the_same_paths(folder: str, objects: Objects) -> None:
    (server,) = _pod(objects, folder)["containers"]
    (sync,) = _pod(objects, folder)["initContainers"]
    _, script, source, target, config, _ = sync["command"]
    mounts = {mount["mountPath"]: mount for mount in sync["volumeMounts"]}
    assert Path(script).name in _object(objects, folder, "ConfigMap", "knet-model-sync")["data"]
    assert mounts["/pushed"]["readOnly"] and source == "/pushed/knet"
    assert Path(config).name == "models.config" and str(Path(config).parent) in mounts
    base_path = re.search(r'base_path: "(.*)"', (CONFIG / "models.config").read_text("utf-8"))
    assert base_path and base_path[1] == target
    assert f"--model_config_file={Path(target).parent}/models.config" in server["args"]
    seen = {mount["mountPath"]: mount["name"] for mount in server["volumeMounts"]}
    assert seen[str(Path(target).parent)] == mounts[str(Path(target).parent)]["name"]


def test_probes_use_both_ports(folder: str, objects: Objects) -> None:
    (server,) = _pod(objects, folder)["containers"]
    ports = {port["name"]: port["containerPort"] for port in server["ports"]}
    assert {f"--port={ports['grpc']}", f"--rest_api_port={ports['rest']}"} <= set(server["args"])
    assert "--enable_grpc_healthcheck_service=true" in server["args"]
    for probe in ("startupProbe", "livenessProbe"):
        assert server[probe]["grpc"]["port"] == ports["grpc"]
    assert server["readinessProbe"]["httpGet"] == {"path": "/v1/models/knet", "port": "rest"}
    model = re.search(r'name: "(.*)"', (CONFIG / "models.config").read_text("utf-8"))
    assert model and model[1] == "knet"


def test_services_budget_and_autoscaler_select_the_pods(folder: str, objects: Objects) -> None:
    deployment = _object(objects, folder, "Deployment")
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    budget = _object(objects, folder, "PodDisruptionBudget")["spec"]
    assert budget["selector"]["matchLabels"].items() <= labels
    for name in ("knet-serving", "knet-serving-grpc"):
        service = _object(objects, folder, "Service", name)["spec"]
        assert service["selector"].items() <= labels
    scaler = _object(objects, folder, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert scaler["minReplicas"] == deployment["spec"]["replicas"] < scaler["maxReplicas"]
    (metric,) = scaler["metrics"]
    assert metric["containerResource"]["container"] == _pod(objects, folder)["containers"][0]["name"]


def test_config_map_names_have_a_digest(folder: str, objects: Objects) -> None:
    names = [
        volume["configMap"]["name"] for volume in _pod(objects, folder)["volumes"] if "configMap" in volume
    ]
    assert all(re.search(r"-[a-z0-9]{10}$", name) for name in names)


def test_only_the_gpu_overlay_requests_gpus(folder: str, objects: Objects) -> None:
    (server,) = _pod(objects, folder)["containers"]
    wanted = folder == "overlays/gpu"
    assert ("nvidia.com/gpu" in server["resources"]["limits"]) == wanted
    assert server["image"].endswith("-gpu") == wanted


_GIB = 2**30
_PAGE = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")


def _measured(row: str) -> tuple[int, int]:
    """Return the bytes of a server with one version of a model, and of each further one, from the page."""
    cells = re.search(rf"(?m)^\| {re.escape(row)} \| ([\d,]+) MiB \| ([\d,]+) MiB \|", _PAGE)
    assert cells, row
    first, further = (int(cell.replace(",", "")) * 2**20 for cell in cells.groups())
    return first, further


def test_memory_suffices_for_versions_and_largest_images(folder: str, objects: Objects) -> None:
    """The newest versions are served, and the next one is loaded before the oldest is unloaded."""
    config = load_config(ROOT / "k8s" / folder)
    is_small = {one.backbone or name for name, one in config.candidates.items()} <= {"mobilenet", "resnet50"}
    first, further = map(
        max, zip(*map(_measured, ("ResNet50",) if is_small else ("VGG16", "ResNet152")), strict=True)
    )
    (model,) = read_models_config(CONFIG / "models.config").model_config_list.config
    peak = peak_bytes(
        first,
        further,
        versions=model.model_version_policy.latest.num_versions + 1,
        max_pixels=config.image.max_pixels,
        batching=read_batching(CONFIG / "batching_parameters.txt"),
    )
    (server,) = _pod(objects, folder)["containers"]
    limit = int(server["resources"]["limits"]["memory"].removesuffix("Gi")) * _GIB
    assert peak <= limit, f"{peak / _GIB:.1f} GiB"
