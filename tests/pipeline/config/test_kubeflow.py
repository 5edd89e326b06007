"""Settings of Kubeflow: ranges and cross-checks, and cron expressions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from pipeline.config.kubeflow import KubeflowConfig, check_cron
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
        ("kubeflow.tuner_pods=true", "kubeflow: tuner_pods: the pods of a search"),
        ("kubeflow.shared_dir=/exchange", "kubeflow: shared_dir: /exchange is on none of the volumes"),
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


@pytest.mark.parametrize(
    "text",
    [
        "0 0 2 * * *",
        "* * * * * *",
        "0 */15 8-18 ? * MON-FRI",
        "0,30 0 0 1,15 jan-jun 0",
        "59 59 23 31 12 6",
        "0 0 0/6 * * sun",
        "0 0 2 1-31/2 * *",
        "0 0 2 29 2 *",
        "0 0 2 31 feb,mar *",
        "0 0 2 25/6 4 ?",
        "0 0 2 31 2 mon",
    ],
)
def test_check_cron_accepts_six_fields(text: str) -> None:
    assert check_cron(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2 * * *", r"has 4 fields, not five \(minute"),
        ("60 2 * * *", "'60' is no minute"),
        ("0 2 * * 7", "'7' is no weekday"),
        ("", "has 0 fields"),
        ("@daily", "has 1 fields"),
        ("0 0 2 * * * 2026", "has 7 fields"),
        ("60 0 2 * * *", "'60' is no second, which ranges from 0 to 59"),
        ("0 0 24 * * *", "'24' is no hour"),
        ("0 0 2 0 * *", "'0' is no day of the month, which ranges from 1 to 31"),
        ("0 0 2 * 13 *", "'13' is no month"),
        ("0 0 2 * * 7", "'7' is no weekday"),
        ("0 0 2 * * mon-sun", "is no weekday"),
        ("0 0 2 * feb feb", "'feb' is no weekday"),
        ("0 5-1 2 * * *", "is no minute"),
        ("0 */0 2 * * *", "is no minute"),
        ("0 *-5 2 * * *", "is no minute"),
        ("0 0, 2 * * *", "'' is no minute"),
        ("0 -1 2 * * *", "is no minute"),
        ("0 0 2 L * *", "is no day of the month"),
        ("0 2 31 2 *", "never comes: no such month has day 31"),
        ("0 0 2 31 apr,jun ?", "never comes"),
        ("0 0 2 30-31 2 *", "never comes: no such month has day 30"),
    ],
)
def test_check_cron_refuses_invalid_expression(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("*", r"\*")):
        check_cron(text)


@pytest.mark.parametrize(
    ("text", "six"),
    [
        ("0 2 * * *", "0 0 2 * * *"),
        ("*/15 8-18 ? * MON-FRI", "0 */15 8-18 ? * MON-FRI"),
        (" 0  2 * * *", "0 0 2 * * *"),
    ],
)
def test_check_cron_puts_second_zero_before_five_fields(text: str, six: str) -> None:
    assert check_cron(text) == six


_LIMITS = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]


def _field(limits: tuple[int, int]) -> st.SearchStrategy[str]:
    number = st.integers(*limits)
    span = st.tuples(number, number).map(lambda two: f"{min(two)}-{max(two)}")
    step = st.integers(1, limits[1]).map(lambda size: f"*/{size}")
    return st.lists(st.one_of(number.map(str), span, step, st.just("*")), min_size=1, max_size=3).map(
        ",".join
    )


_DAY_OF_EVERY_MONTH = (1, 29)  # so that some date comes


@given(
    fields=st.tuples(*map(_field, [*_LIMITS[:3], _DAY_OF_EVERY_MONTH, *_LIMITS[4:]])),
    where=st.integers(0, 5),
    over=st.integers(1, 1000),
)
def test_check_cron_accepts_numbers_within_limits_alone(
    fields: tuple[str, ...], where: int, over: int
) -> None:
    assert check_cron(" ".join(fields)) == " ".join(fields)
    wrong = [*fields]
    wrong[where] += f",{_LIMITS[where][1] + over}"
    with pytest.raises(ValueError, match="which ranges from"):
        check_cron(" ".join(wrong))
