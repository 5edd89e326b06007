"""What Kubeflow needs is added to TFX's specification."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.config import Config, load_config
from pipeline.errors import UserError
from pipeline.runners.kubeflow.complete_spec import complete_spec

_KUBEFLOW = {
    "data_source": "/data/images",
    "env": {"B": "2", "A": "1"},
    "retries": 3,
    "volumes": [{"claim": "images", "mount_path": "/data"}],
    "secrets": [{"name": "store", "env": {"accesskey": "AWS_ACCESS_KEY_ID"}}],
    "resources": {
        "Trainer": {
            "cpu": 8,
            "memory_gb": 32,
            "gpus": 1,
            "shared_memory_gb": 4,
            "node_selector": {"gpu": "a100"},
            "tolerations": [{"key": "gpu", "effect": "NoSchedule"}],
        },
        "Trainer-resnet152": {"gpus": 2},
    },
}


def _compiled() -> dict[str, Any]:
    """As little of a PipelineSpec as TFX writes."""

    def parameters(*names: str) -> dict[str, Any]:
        return {"parameters": {name: {"runtimeValue": {"constant": ""}} for name in names}}

    nodes = {
        "BreakHisExampleGen": parameters("data_source", "data_root", "fingerprint"),
        "Trainer-vgg16": {},
        "Trainer-resnet152": {},
    }
    return {
        "root": {
            "dag": {
                "tasks": {
                    name: {"componentRef": {"name": name}, "inputs": inputs, "dependentTasks": []}
                    for name, inputs in nodes.items()
                }
            }
        },
        "components": {name: {"executorLabel": f"{name}_executor"} for name in nodes},
        "deploymentSpec": {
            "executors": {f"{name}_executor": {"container": {"image": "x"}} for name in nodes}
        },
    }


def _config(**kubeflow: Any) -> Config:
    return Config.model_validate({"kubeflow": {**_KUBEFLOW, **kubeflow}})


@pytest.fixture(scope="module")
def documents() -> tuple[dict[str, Any], dict[str, Any]]:
    return complete_spec(_compiled(), _config())


def _pod(documents: tuple[dict[str, Any], dict[str, Any]], node: str) -> dict[str, Any]:
    pod: dict[str, Any] = documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"][
        f"{node}_executor"
    ]
    return pod


def test_what_tfx_wrote_stays_as_it_is() -> None:
    compiled = _compiled()
    complete_spec(compiled, _config())
    assert compiled == _compiled()


def test_the_data_are_looked_at_first_and_never_from_the_cache(documents: tuple[Any, Any]) -> None:
    tasks = documents[0]["root"]["dag"]["tasks"]
    assert tasks["BreakHisExampleGen"]["inputs"]["parameters"]["fingerprint"] == {
        "taskOutputParameter": {"producerTask": "DataFingerprint", "outputParameterKey": "fingerprint"}
    }
    assert tasks["BreakHisExampleGen"]["dependentTasks"] == ["DataFingerprint"]
    assert "cachingOptions" not in tasks["DataFingerprint"]
    container = documents[0]["deploymentSpec"]["executors"]["DataFingerprint_executor"]["container"]
    assert container["image"] == "x" and container["args"][-2] == "--class=malignant"


def test_the_place_of_the_data_is_a_parameter_with_a_default(documents: tuple[Any, Any]) -> None:
    root = documents[0]["root"]
    assert root["inputDefinitions"]["parameters"]["data_source"]["defaultValue"] == "/data/images"
    for node in ("DataFingerprint", "BreakHisExampleGen"):
        given = root["dag"]["tasks"][node]["inputs"]["parameters"]["data_source"]
        assert given == {"componentInputParameter": "data_source"}


def test_a_node_gets_its_own_resources_else_those_of_its_kind(documents: tuple[Any, Any]) -> None:
    executors = documents[0]["deploymentSpec"]["executors"]
    vgg16 = executors["Trainer-vgg16_executor"]["container"]["resources"]
    assert vgg16 == {
        "cpuLimit": 8,
        "memoryLimit": 32,
        "accelerator": {"type": "nvidia.com/gpu", "count": "1"},
    }
    resnet152 = executors["Trainer-resnet152_executor"]["container"]["resources"]
    assert resnet152["accelerator"]["count"] == "2" and resnet152["memoryLimit"] == 8
    assert "accelerator" not in executors["BreakHisExampleGen_executor"]["container"]["resources"]


def test_every_node_has_the_environment_the_volumes_the_secrets_and_the_retries(
    documents: tuple[Any, Any],
) -> None:
    for node, task in documents[0]["root"]["dag"]["tasks"].items():
        container = documents[0]["deploymentSpec"]["executors"][f"{node}_executor"]["container"]
        assert container["env"] == [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]
        assert task["retryPolicy"]["maxRetryCount"] == 3
        pod = _pod(documents, node)
        assert pod["pvcMount"] == [{"constant": "images", "mountPath": "/data"}]
        keys = [{"secretKey": "accesskey", "envVar": "AWS_ACCESS_KEY_ID"}]
        assert pod["secretAsEnv"] == [{"secretName": "store", "keyToEnv": keys}]


def test_a_trainer_has_shared_memory_and_finds_its_machine(documents: tuple[Any, Any]) -> None:
    pod = _pod(documents, "Trainer-vgg16")
    assert pod["nodeSelector"] == {"labels": {"gpu": "a100"}}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}]
    (memory,) = pod["emptyDirMounts"]
    assert memory["mountPath"] == "/dev/shm" and memory["sizeLimit"] == "4Gi"
    assert "nodeSelector" not in _pod(documents, "BreakHisExampleGen")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kubeflow.pipeline_root=mlpipeline/knet", "kubeflow.pipeline_root"),
        ("kubeflow.resources={Trainer: {gpu_type: nvidia.com/tpu}}", "kubeflow.resources.Trainer.gpu_type"),
        ("kubeflow.secrets=[{name: Store, env: {a: B}}]", "kubeflow.secrets.0.name"),
        ("kubeflow.secrets=[{name: store, env: {}}]", "kubeflow.secrets.0.env"),
        ("kubeflow.volumes=[{claim: images, mount_path: data}]", "kubeflow.volumes.0.mount_path"),
    ],
)
def test_what_a_cluster_would_refuse_is_refused_by_its_field(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config("demo", [override])


def test_resources_of_a_node_that_there_is_not_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"kubeflow.resources.Trainer-vgg: no such node; there are .*Trainer-vgg16"
    ):
        complete_spec(_compiled(), _config(resources={"Trainer-vgg": {}}))
