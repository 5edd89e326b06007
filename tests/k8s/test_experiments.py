"""The experiments that the overlays schedule are valid, and name what is there."""

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


def test_the_base_has_a_valid_one_too() -> None:
    assert load_config(K8S / "base" / "schedule" / "knet.yaml").kubeflow.cron


def test_the_config_map_has_the_file(folder: str, objects: Objects) -> None:
    (held,) = (
        thing["data"]
        for thing in objects[folder]
        if thing["kind"] == "ConfigMap" and thing["metadata"]["name"].startswith("knet-config-")
    )
    assert held["knet.yaml"] == FILES[folder].read_text("utf-8")


def test_every_claim_is_one_of_the_cluster(folder: str, config: Config, objects: Objects) -> None:
    claims = {
        thing["metadata"]["name"] for thing in objects[folder] if thing["kind"] == "PersistentVolumeClaim"
    }
    assert {volume.claim for volume in config.kubeflow.volumes} <= claims


def test_what_must_outlive_a_container_is_on_a_volume(config: Config) -> None:
    assert not config.kubeflow.ephemeral_paths
    assert any(config.kubeflow.data_source.startswith(v.mount_path) for v in config.kubeflow.volumes)


def test_the_pushed_models_are_where_the_sync_looks(folder: str, config: Config, objects: Objects) -> None:
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


def test_trainers_have_gpus_where_there_are_any(folder: str, config: Config) -> None:
    for name in config.candidates:
        resources = config.kubeflow.resources_of(f"Trainer-{name}")
        if folder == "overlays/dev":
            assert resources.gpus == 0
        else:
            assert resources.gpus == 1 and resources.shared_memory_gb > 0
            assert any(item.key == "nvidia.com/gpu" for item in resources.tolerations)


def test_production_sends_beam_to_the_job_server(objects: Objects) -> None:
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


def test_what_pods_outside_the_pipeline_read_is_exchanged_with_them(folder: str, config: Config) -> None:
    assert bool(config.kubeflow.shared_dir) == (config.kubeflow.tuner_pods or config.beam.remote), folder


def test_the_schedule_job_reads_the_experiment(folder: str, objects: Objects) -> None:
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
        *("knet", "kubeflow", "schedule", "/tmp/pipeline.yaml", "--config", "/config/knet.yaml")
    ]
    assert yaml.safe_load(FILES[folder].read_text("utf-8"))["kubeflow"]["cron"]
