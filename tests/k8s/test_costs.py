"""The costs in docs/deployment.md are those of the manifests and of the compiled pipelines."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

from knet.base import node_ids
from pipeline.config.load import load_config

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/deployment.md").read_text("utf-8")
BYTES = {"Mi": 1 / 1024, "Gi": 1, "g": 1}
Objects = dict[str, list[dict[str, Any]]]


def _cpus(amount: str | int) -> float:
    text = str(amount)
    return int(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def _gib(amount: str) -> float:
    match = re.fullmatch(r"(\d+)(\D+)", amount)
    assert match
    return int(match[1]) * BYTES[match[2]]


def _requests(containers: Iterable[dict[str, Any]]) -> tuple[float, float, int]:
    """Return CPUs, GiB of memory and GPUs of containers."""
    resources = [container["resources"] for container in containers]
    return (
        sum(_cpus(one["requests"]["cpu"]) for one in resources),
        sum(_gib(one["requests"]["memory"]) for one in resources),
        sum(int(one["limits"].get("nvidia.com/gpu", 0)) for one in resources),
    )


def _containers(thing: dict[str, Any]) -> list[dict[str, Any]]:
    pod = thing["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


@pytest.mark.slow
@pytest.mark.parametrize("overlay", ["dev", "gpu", "production"])
def test_costs_of_an_overlay_are_documented(overlay: str, objects: Objects, tmp_path: Path) -> None:
    from pipeline.kubeflow.compiler import compile_pipeline

    compile_pipeline(load_config(ROOT / "k8s/overlays" / overlay), tmp_path / "pipeline.yaml")
    spec, _ = yaml.safe_load_all((tmp_path / "pipeline.yaml").read_text("utf-8"))
    nodes = {
        name.removesuffix("_executor"): executor["container"]["resources"]
        for name, executor in spec["deploymentSpec"]["executors"].items()
    }
    trainers = [one for name, one in nodes.items() if node_ids.kind(name) == node_ids.TRAINER]
    cpu, memory = ([one[field] for one in nodes.values()] for field in ("cpuRequest", "memoryRequest"))
    gpus = [int(one.get("accelerator", {}).get("count", 0)) for one in trainers]
    tuner = int(nodes.get(node_ids.TUNER, {}).get("accelerator", {}).get("count", 0))
    (server,) = (
        thing
        for thing in objects[f"overlays/{overlay}"]
        if thing["kind"] == "Deployment" and thing["metadata"]["name"] == "knet-serving"
    )
    replicas = server["spec"]["replicas"]
    cpus, gib, server_gpus = (replicas * amount for amount in _requests(_containers(server)))
    row = [
        f"`{overlay}`",
        str(len(nodes)),
        str(2 * len(nodes) + 2),
        f"{max(cpu):g} CPUs, {max(memory):g} GB",
        f"{len(trainers)}: {sum(t['cpuRequest'] for t in trainers):g} CPUs, "
        f"{sum(t['memoryRequest'] for t in trainers):g} GB",
        (f"{tuner}, then " if tuner else "") + (f"{sum(gpus)} at once" if sum(gpus) else "0"),
        f"{replicas}: {cpus:.1f} CPUs, {gib:.1f} GiB" + (f", {server_gpus} GPUs" if server_gpus else ""),
    ]
    assert f"| {' | '.join(row)} |" in PAGE


def test_costs_beside_a_run_are_documented(objects: Objects) -> None:
    jobs = [thing for thing in objects["tuner"] if thing["kind"] == "Job"]
    pods = [_containers(job) * job["spec"].get("parallelism", 1) for job in jobs]
    cpus, gib, gpus = _requests(container for pod in pods for container in pod)
    assert f"`k8s/tuner` ({cpus:g} CPUs, {gib:g} GiB, {gpus} GPUs" in PAGE
    (flink,) = (thing["spec"] for thing in objects["flink"] if thing["kind"] == "FlinkDeployment")
    (job_server,) = (thing for thing in objects["flink"] if thing["kind"] == "Deployment")
    cpus, gib, _ = _requests(_containers(job_server))
    for manager in ("jobManager", "taskManager"):
        own = flink[manager].get("podTemplate", {}).get("spec", {}).get("containers", [])[1:]
        beside = _requests(own)
        count, resource = flink[manager]["replicas"], flink[manager]["resource"]
        cpus += count * (resource["cpu"] + beside[0])
        gib += count * (_gib(resource["memory"]) + beside[1])
    assert f"Flink ({cpus:g} CPUs, {gib:g} GiB, always)" in PAGE.replace("\n  ", " ")
    claims = [
        thing["spec"]["resources"]["requests"]["storage"]
        for thing in objects["overlays/dev"]
        if thing["kind"] == "PersistentVolumeClaim"
    ]
    assert f"claims of {sum(map(_gib, claims)):g} GiB" in PAGE
