"""Custom resources have the fields of their operators, whose schemas Kubernetes does not have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import write_alerts
from google.protobuf import text_format

from knet.base import schema_names
from knet.serving.models_config import ModelServerConfig

Objects = dict[str, list[dict[str, Any]]]

# FlinkDeployment v1beta1, from the reference of the Flink Kubernetes operator 1.11: the fields by path.
FLINK = {
    "": "image imagePullPolicy flinkVersion mode serviceAccount flinkConfiguration podTemplate jobManager "
    "taskManager logConfiguration ingress job restartNonce",
    "jobManager": "replicas resource podTemplate",
    "taskManager": "replicas resource podTemplate",
    "jobManager.resource": "cpu memory ephemeralStorage",
    "taskManager.resource": "cpu memory ephemeralStorage",
}
# InferenceService v1beta1, from the definition of KServe 0.17: the fields by path, without Kubernetes' own.
KSERVE = {
    "": "predictor",
    "predictor": "model canaryTrafficPercent minReplicas maxReplicas scaleMetric scaleTarget timeout labels "
    "annotations containerConcurrency batcher logger",
    "predictor.model": "modelFormat runtime runtimeVersion protocolVersion storageUri storage",
    "predictor.model.modelFormat": "name version",
}
# What Knative accepts of a pod and of a container, with kubernetes.podspec-persistent-volume-claim enabled.
KNATIVE_POD = {"automountServiceAccountToken", "enableServiceLinks", "serviceAccountName", "volumes"}
KNATIVE_CONTAINER = {"args", "env", "ports", "resources", "securityContext", "volumeMounts"}
# ServiceMonitor v1, of the Prometheus operator.
MONITOR = {"selector", "namespaceSelector", "endpoints", "jobLabel", "targetLabels"}
ENDPOINT = {"port", "path", "interval", "scheme", "relabelings", "metricRelabelings", "scrapeTimeout"}


def _only(objects: Objects, folder: str, kind: str, name: str = "") -> dict[str, Any]:
    found = [
        thing
        for thing in objects[folder]
        if thing["kind"] == kind and name in ("", thing["metadata"]["name"])
    ]
    assert len(found) == 1
    return found[0]


def test_flink_cluster_has_known_fields_only(objects: Objects) -> None:
    deployment = _only(objects, "flink", "FlinkDeployment")
    assert deployment["apiVersion"] == "flink.apache.org/v1beta1"
    assert set(deployment) == {"apiVersion", "kind", "metadata", "spec"}
    for path, fields in FLINK.items():
        section = deployment["spec"]
        for name in path.split(".") if path else ():
            section = section[name]
        assert set(section) <= set(fields.split()), path


def test_flink_cluster_is_a_session_of_one_version(objects: Objects) -> None:
    spec = _only(objects, "flink", "FlinkDeployment")["spec"]
    assert "job" not in spec  # then it would run that one job and end
    assert (spec["mode"], spec["flinkVersion"]) == ("standalone", "v1_19")
    assert spec["image"].startswith("flink:1.19.")
    assert spec["taskManager"]["replicas"] > 0  # which standalone mode needs
    assert all(isinstance(value, str) for value in spec["flinkConfiguration"].values())
    job_server = _only(objects, "flink", "Deployment")["spec"]["template"]["spec"]["containers"][0]
    lock = (Path(__file__).resolve().parents[2] / "requirements" / "current.lock").read_text("utf-8")
    beam = re.search(r"^apache-beam==([\d.]+)", lock, re.MULTILINE)
    assert beam and job_server["image"] == f"apache/beam_flink1.19_job_server:{beam[1]}"
    assert "--flink-master=knet-flink-rest:8081" in job_server["args"]  # which the operator names after it


def test_flink_containers_have_required_names(objects: Objects) -> None:
    spec = _only(objects, "flink", "FlinkDeployment")["spec"]
    common = [container["name"] for container in spec["podTemplate"]["spec"]["containers"]]
    workers = spec["taskManager"]["podTemplate"]["spec"]
    own = [container["name"] for container in workers["containers"]]
    # Templates are put together by position.
    assert common == own[:1] == ["flink-main-container"] and own[1:] == ["beam-workers"]
    names = {volume["name"] for volume in workers["volumes"]}
    assert names == {mount["name"] for mount in workers["containers"][1]["volumeMounts"]}


def test_inference_service_has_known_fields_only(objects: Objects) -> None:
    service = _only(objects, "overlays/kserve", "InferenceService")
    assert service["apiVersion"] == "serving.kserve.io/v1beta1"
    assert service["metadata"]["annotations"] == {"serving.kserve.io/deploymentMode": "Knative"}
    kubernetes = {"predictor": KNATIVE_POD, "predictor.model": KNATIVE_CONTAINER}
    for path, fields in KSERVE.items():
        section = service["spec"]
        for name in path.split(".") if path else ():
            section = section[name]
        assert set(section) <= set(fields.split()) | kubernetes.get(path, set()), path


def test_inference_service_serves_as_the_deployment(objects: Objects) -> None:
    """Flags, image, size and configuration files are those of TF Serving in `production`."""
    predictor = _only(objects, "overlays/kserve", "InferenceService")["spec"]["predictor"]
    model = predictor["model"]
    deployment = _only(objects, "overlays/production", "Deployment", "knet-serving")
    (server,) = deployment["spec"]["template"]["spec"]["containers"]
    assert server["image"] == f"tensorflow/serving:{model['runtimeVersion']}"
    assert server["resources"] == model["resources"]
    known = {flag.partition("=")[0] for flag in server["args"]}
    flags = dict(flag.split("=") for flag in model["args"])
    assert flags.keys() <= known
    maps = {
        mount["mountPath"]: volume["configMap"]["name"]
        for mount in model["volumeMounts"]
        for volume in predictor["volumes"]
        if mount["name"] == volume["name"] and "configMap" in volume
    }
    files = {thing["metadata"]["name"]: thing for thing in objects["overlays/kserve"] if "data" in thing}
    for name in ("--model_config_file", "--batching_parameters_file", "--monitoring_config_file"):
        folder, _, file = flags[name].rpartition("/")
        text = files[maps[folder]]["data"][file]
        if name == "--model_config_file":
            (config,) = text_format.Parse(text, ModelServerConfig()).model_config_list.config
            assert (config.name, config.base_path) == (schema_names.MODEL_NAME, "/mnt/models")
            assert config.model_version_policy.WhichOneof("policy_choice") == "specific"
    assert model["storageUri"] == f"pvc://knet-models/{schema_names.MODEL_NAME}"
    assert _only(objects, "overlays/kserve", "PersistentVolumeClaim", "knet-models")
    assert [(port["name"], port["containerPort"]) for port in model["ports"]] == [("h2c", 9000)]


def test_pod_monitor_selects_the_inference_service(objects: Objects) -> None:
    monitor = _only(objects, "overlays/kserve", "PodMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) == {"selector", "podMetricsEndpoints"}
    labels = _only(objects, "overlays/kserve", "InferenceService")["spec"]["predictor"]["labels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= labels.items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert set(endpoint) <= (ENDPOINT - {"port"}) | {"portNumber"}
    (other,) = _only(objects, "overlays/production", "ServiceMonitor")["spec"]["endpoints"]
    assert {name: endpoint[name] for name in ("path", "interval", "relabelings")} == {
        name: other[name] for name in ("path", "interval", "relabelings")
    }


def test_kserve_overlay_has_no_other_server(objects: Objects) -> None:
    names = {(thing["kind"], thing["metadata"]["name"]) for thing in objects["overlays/kserve"]}
    kinds = ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceMonitor")
    assert not names & {(kind, f"knet-serving{end}") for kind in kinds for end in ("", "-grpc")}


@pytest.mark.parametrize("folder", ["overlays/dev", "overlays/gpu", "overlays/production"])
def test_service_monitor_selects_one_service_and_job(folder: str, objects: Objects) -> None:
    monitor = _only(objects, folder, "ServiceMonitor")
    assert monitor["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(monitor["spec"]) <= MONITOR
    (endpoint,) = monitor["spec"]["endpoints"]
    assert set(endpoint) <= ENDPOINT
    assert {"targetLabel": "job", "replacement": "knet"} in endpoint["relabelings"]
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    services = [
        thing
        for thing in objects[folder]
        if thing["kind"] == "Service" and wanted <= thing["metadata"]["labels"].items()
    ]
    (service,) = services  # with two, every server would be counted twice
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}


def test_alerts_match_those_of_the_library(objects: Objects) -> None:
    rule = _only(objects, "overlays/dev", "PrometheusRule")
    assert rule["apiVersion"] == "monitoring.coreos.com/v1"
    assert set(rule["spec"]) == {"groups"}
    written = write_alerts.OBJECT.read_text("utf-8")
    assert written == write_alerts.alerts_object(write_alerts.RULES.read_text("utf-8")), (
        "call scripts/write_alerts.py"
    )
    for group in rule["spec"]["groups"]:
        assert set(group) <= {"name", "interval", "rules"}
        for alert in group["rules"]:
            assert set(alert) <= {
                "alert",
                "record",
                "expr",
                "for",
                "keep_firing_for",
                "labels",
                "annotations",
            }
