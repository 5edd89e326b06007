"""Settings of Kubeflow: ranges and cross-checks."""

from __future__ import annotations

import pytest

from knet.base.errors import UserError
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.config.load import load_config


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("kubeflow.pipeline_root=mlpipeline/knet", "kubeflow.pipeline_root"),
        ("kubeflow.resources={Trainer: {gpu_type: nvidia.com/tpu}}", "kubeflow.resources.Trainer.gpu_type"),
        ("kubeflow.secrets=[{name: Store, env: {a: B}}]", "kubeflow.secrets.0.name"),
        ("kubeflow.secrets=[{name: store, env: {}}]", "kubeflow.secrets.0.env"),
        ("kubeflow.volumes=[{claim: images, mount_path: data}]", "kubeflow.volumes.0.mount_path"),
        ("kubeflow.volumes=[{claim: images, mount_path: /}]", "kubeflow.volumes.0.mount_path: / is reserved"),
        ("kubeflow.volumes=[{claim: a, mount_path: /usr/lib}]", "kubeflow.volumes.0.mount_path: /usr/lib is"),
        (
            "kubeflow.volumes=[{claim: images, mount_path: /minio}]",
            "kubeflow.volumes.0.mount_path: /minio is",
        ),
        (
            "kubeflow.volumes=[{claim: a, mount_path: /data/../etc}]",
            "kubeflow.volumes.0.mount_path.*normal",
        ),
        (
            "kubeflow.volumes=[{claim: a, mount_path: /data}, {claim: b, mount_path: /data}]",
            "kubeflow: volumes.1.mount_path: /data is the path of another volume too",
        ),
        ("kubeflow.secrets=[{name: store, env: {a: ''}}]", "kubeflow.secrets.0.env.a: .*not ''"),
        ("kubeflow.secrets=[{name: store, env: {a: 1A}}]", "kubeflow.secrets.0.env.a"),
        ("kubeflow.secrets=[{name: store, env: {a/b: A}}]", "kubeflow.secrets.0.env.a/b"),
        (
            "kubeflow.secrets=[{name: x, env: {a: A}}, {name: y, env: {b: A}}]",
            "kubeflow: secrets.1.env.b: the variable A is set twice",
        ),
        (
            "kubeflow.env={AWS_SECRET_ACCESS_KEY: x}",
            "kubeflow.env: AWS_SECRET_ACCESS_KEY looks like a secret",
        ),
        ("kubeflow.env={a-b: x}", "kubeflow.env.a-b"),
        (
            "kubeflow.data_source=s3://bucket/images",
            "kubeflow: data_source is s3://bucket.*AWS_ACCESS_KEY_ID",
        ),
        ("kubeflow.resources={Trainer: {cpu: 0}}", "kubeflow.resources.Trainer.cpu"),
        ("kubeflow.resources={Trainer: {cpu: .inf}}", "kubeflow.resources.Trainer.cpu"),
        ("kubeflow.resources={Trainer: {memory_gb: 4 Gi}}", "kubeflow.resources.Trainer.memory_gb"),
        ("kubeflow.resources={Trainer: {gpus: 0.5}}", "kubeflow.resources.Trainer.gpus"),
        (
            "kubeflow.resources={Trainer: {memory_gb: 4, shared_memory_gb: 4}}",
            "kubeflow.resources.Trainer: shared_memory_gb=4 is part of memory_gb=4",
        ),
        (
            "kubeflow.resources={Trainer: {tolerations: [{key: gpu, operator: Equal}]}}",
            "kubeflow.resources.Trainer.tolerations.0: operator Equal needs a value",
        ),
        (
            "kubeflow.resources={Trainer: {node_selector: {a b: c}}}",
            "kubeflow.resources.Trainer.node_selector",
        ),
        (
            "kubeflow.resources={Trainer: {cpu: 2, cpu_request: 4}}",
            "kubeflow.resources.Trainer: cpu_request=4 must be at most the limit, which is 2; .* raise cpu",
        ),
        (
            "kubeflow.resources={Trainer: {memory_gb: 2, memory_request_gb: 4}}",
            "kubeflow.resources.Trainer: memory_request_gb=4 must be at most .* raise memory_gb",
        ),
        ("kubeflow.tuner_pods=true", "kubeflow.tuner_pods: the pods of a search"),
        ("kubeflow.shared_dir=/exchange", "kubeflow.shared_dir: /exchange is on none of the volumes"),
        (
            "kubeflow.notifications={receiver: webhook}",
            "kubeflow: notifications.url_variable: no secret gives KNET_NOTIFICATION_URL; name one in",
        ),
        (
            "kubeflow={env: {U: a}, notifications: {receiver: webhook, url_variable: U, token_variable: T}}",
            "kubeflow: notifications.token_variable: no secret gives T",
        ),
        ("kubeflow.image=knet 1.0", "kubeflow.image"),
        ("kubeflow.host=localhost:8888", "kubeflow.host"),
        ("kubeflow.cron=0 2 * *", "kubeflow.cron: '0 2 .*has 4 fields, not five"),
    ],
)
def test_kubeflow_settings_refuse_invalid_values(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        load_config("demo", [override])


def test_ephemeral_paths_are_on_no_volume() -> None:
    on_volume = KubeflowConfig.model_validate({"volumes": [{"claim": "images", "mount_path": "/data"}]})
    assert list(on_volume.ephemeral_paths) == ["cache_root", "push_folder"]
    assert list(KubeflowConfig().ephemeral_paths) == ["checkpoints", "cache_root", "registry", "push_folder"]


def test_bucket_needs_keys_or_service_account() -> None:
    bucket = {"data_source": "s3://bucket/images"}
    keys = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    for allowed in ({"secrets": [{"name": "store", "env": keys}]}, {"secrets": [], "service_account": "me"}):
        assert KubeflowConfig.model_validate({**bucket, **allowed}).data_source == bucket["data_source"]
    with pytest.raises(ValueError, match="no secret gives AWS_SECRET_ACCESS_KEY;"):
        KubeflowConfig.model_validate(
            {**bucket, "secrets": [{"name": "store", "env": {"a": "AWS_ACCESS_KEY_ID"}}]}
        )
