"""Configurations of the overlays are valid and refer to existing resources."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from pipeline.config.config import Config
from pipeline.config.load import load_config

K8S = Path(__file__).resolve().parents[2] / "k8s"
FILES = {
    "overlays/dev": K8S / "overlays" / "dev" / "knet.yaml",
    "overlays/gpu": K8S / "overlays" / "gpu" / "knet.yaml",
    "overlays/production": K8S / "overlays" / "production" / "knet.yaml",
}
Objects = dict[str, list[dict[str, Any]]]


@pytest.fixture(params=FILES)
def folder(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def config(folder: str) -> Config:
    return load_config(FILES[folder])


def test_base_configuration_is_valid() -> None:
    assert load_config(K8S / "base" / "schedule" / "knet.yaml").kubeflow.cron


def test_config_map_has_the_configuration(folder: str, objects: Objects) -> None:
    (held,) = (
        thing["data"]
        for thing in objects[folder]
        if thing["kind"] == "ConfigMap" and thing["metadata"]["name"].startswith("knet-config-")
    )
    assert held["knet.yaml"] == FILES[folder].read_text("utf-8")


def test_volume_claims_exist(folder: str, config: Config, objects: Objects) -> None:
    claims = {
        thing["metadata"]["name"] for thing in objects[folder] if thing["kind"] == "PersistentVolumeClaim"
    }
    assert {volume.claim for volume in config.kubeflow.volumes} <= claims


def test_no_path_is_ephemeral(config: Config) -> None:
    assert not config.kubeflow.ephemeral_paths
    assert any(config.kubeflow.data_source.startswith(v.mount_path) for v in config.kubeflow.volumes)


def test_push_folder_is_the_source_of_model_sync(folder: str, config: Config, objects: Objects) -> None:
    (deployment,) = (
        thing
        for thing in objects[folder]
        if thing["kind"] == "Deployment" and thing["metadata"]["name"] == "knet-serving"
    )
    pod = deployment["spec"]["template"]["spec"]
    (sync,) = pod["initContainers"]
    source = PurePosixPath(sync["command"][2])
    (pushed,) = (mount for mount in sync["volumeMounts"] if source.is_relative_to(mount["mountPath"]))
    (claim,) = (volume for volume in pod["volumes"] if volume["name"] == pushed["name"])
    (volume,) = (
        volume
        for volume in config.kubeflow.volumes
        if volume.claim == claim["persistentVolumeClaim"]["claimName"]
    )
    inside = PurePosixPath(config.kubeflow.push_folder).relative_to(volume.mount_path)
    assert source.relative_to(pushed["mountPath"]) == inside


def test_trainers_have_gpus_in_gpu_overlays(folder: str, config: Config) -> None:
    for name in config.candidates:
        resources = config.kubeflow.resources_of(f"Trainer-{name}")
        if folder == "overlays/dev":
            assert resources.gpus == 0
        else:
            assert resources.gpus == 1 and resources.shared_memory_gb > 0
            assert any(item.key == "nvidia.com/gpu" for item in resources.tolerations)


def test_production_runs_beam_on_the_job_server(objects: Objects) -> None:
    args = load_config(FILES["overlays/production"]).beam.args
    (service,) = (
        thing
        for thing in objects["overlays/production"]
        if thing["kind"] == "Service" and thing["metadata"]["name"] == "knet-beam-job-server"
    )
    ports = {port["name"]: port["port"] for port in service["spec"]["ports"]}
    name = service["metadata"]["name"]
    assert f"--job_endpoint={name}:{ports['jobs']}" in args
    assert f"--artifact_endpoint={name}:{ports['artifacts']}" in args
    (flink,) = (thing for thing in objects["overlays/production"] if thing["kind"] == "FlinkDeployment")
    _, workers = flink["spec"]["taskManager"]["podTemplate"]["spec"]["containers"]
    (port,) = workers["ports"]
    assert f"--environment_config=localhost:{port['containerPort']}" in args
    slots = int(flink["spec"]["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert f"--parallelism={flink['spec']['taskManager']['replicas'] * slots}" in args


def test_shared_dir_is_set_for_remote_workers(folder: str, config: Config) -> None:
    assert bool(config.kubeflow.shared_dir) == (config.kubeflow.tuner_pods or config.beam.remote), folder


_CONFIG = ["--kubeflow", "--config", "/config/knet.yaml"]


def test_rollback_job_mounts_the_configured_folders(folder: str, config: Config, objects: Objects) -> None:
    (job,) = (thing for thing in objects[folder] if thing["metadata"]["name"] == "knet-rollback")
    assert job["spec"]["suspend"]  # a template of jobs
    ((command, mounted),) = _containers(job)
    assert command == ["knet", "models", "rollback", *_CONFIG]
    needed = _volumes(config, config.kubeflow.push_folder, config.kubeflow.registry)
    assert len(needed) == 2 and needed <= mounted


def test_cleanup_job_mounts_the_configured_folders(folder: str, config: Config, objects: Objects) -> None:
    (job,) = (thing for thing in objects[folder] if thing["metadata"]["name"] == "knet-cleanup")
    (cache, caches), (prune, models) = _containers(job)
    kubeflow = config.kubeflow
    assert cache == ["knet", "cache", *_CONFIG, "--remove-unused", "30"]
    needed = _volumes(config, kubeflow.cache_root, kubeflow.checkpoints, kubeflow.registry)
    assert len(needed) == 2 and needed <= caches
    assert prune == ["knet", "models", "prune", *_CONFIG, "--keep", "5"]
    needed = _volumes(config, kubeflow.push_folder, kubeflow.registry)
    assert len(needed) == 2 and needed <= models


def _containers(job: dict[str, Any]) -> list[tuple[list[str], set[tuple[str | None, str]]]]:
    """Return the command of each container of a CronJob, and the claims that it mounts with their paths."""
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    claims = {
        v["name"]: v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persist" in str(v)
    }
    return [
        (
            container["command"],
            {(claims.get(mount["name"]), mount["mountPath"]) for mount in container["volumeMounts"]},
        )
        for container in pod["containers"]
    ]


def _volumes(config: Config, *paths: str) -> set[tuple[str | None, str]]:
    """Return claim and path of the volumes that hold some paths."""
    return {
        (volume.claim, volume.mount_path)
        for volume in config.kubeflow.volumes
        for path in paths
        if PurePosixPath(path).is_relative_to(volume.mount_path)
    }


def test_schedule_job_reads_the_configuration(folder: str, objects: Objects) -> None:
    (job,) = (
        t
        for t in objects[folder]
        if t["metadata"]["name"] == "knet-schedule" and "jobTemplate" in t.get("spec", {})
    )
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    (compile_,), (schedule,) = pod["initContainers"], pod["containers"]
    assert compile_["command"] == [
        *("knet", "kubeflow", "compile", "--config", "/config/knet.yaml", "--output", "/tmp/pipeline.yaml")
    ]
    assert schedule["command"] == [
        *("knet", "kubeflow", "schedule", "/tmp/pipeline.yaml", "--config", "/config/knet.yaml"),
        *("--namespace", "$(NAMESPACE)"),
    ]
    assert yaml.safe_load(FILES[folder].read_text("utf-8"))["kubeflow"]["cron"]
