"""Where the compiled graph runs."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from pipeline.config.cron import check_cron
from pipeline.config.section import Section

KubernetesName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
# A name and a version or digest, without blanks: registry.example.org/knet:1.0
Image = Annotated[str, Field(pattern=r"^[a-z0-9][-a-zA-Z0-9._:/]*(@sha256:[0-9a-f]{64})?$")]
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
Quantity = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LabelKey = Annotated[str, Field(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]

# What a mount there would hide: the system, our code, what Kubeflow's launcher keeps artifacts and itself in.
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr")
_TAKEN = (*_SYSTEM, "/app", "/opt", "/tmp", "/kfp-launcher")
_OF_THE_LAUNCHER = ("/minio", "/s3", "/gcs")
_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|CREDENTIAL|ACCESS_KEY", re.IGNORECASE)
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def _plain_environment(variables: dict[str, str]) -> dict[str, str]:
    for name in variables:
        if _SECRET.search(name):
            raise ValueError(
                f"{name} looks like a secret, which would stand in the compiled pipeline for all to read; "
                "put it in a Kubernetes secret and name that in kubeflow.secrets"
            )
    return variables


Environment = Annotated[dict[Variable, str], AfterValidator(_plain_environment)]


class TolerationConfig(Section):
    """A taint of nodes that a pod may run on all the same."""

    key: LabelKey
    operator: Literal["Equal", "Exists"] = "Exists"
    value: LabelValue | None = None  # with Equal
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None  # none means every one

    @model_validator(mode="after")
    def _value_with_equal(self) -> TolerationConfig:
        if self.operator == "Equal" and self.value is None:
            raise ValueError("operator Equal needs a value")
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator Exists takes no value")
        return self


class ResourcesConfig(Section):
    """What a node of the graph gets of the cluster."""

    image: Image | None = None  # none means that of all nodes
    cpu: Quantity = 2  # cores, at most
    memory_gb: Quantity = 8  # at most
    gpus: int = Field(0, ge=0)
    gpu_type: Literal["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915"] = "nvidia.com/gpu"
    node_selector: dict[LabelKey, LabelValue] = {}  # labels that the machine must have
    tolerations: tuple[TolerationConfig, ...] = ()
    shared_memory_gb: float = Field(0, ge=0, allow_inf_nan=False)  # of the memory, as /dev/shm
    env: Environment = {}  # beside those of all nodes
    cache: bool = True  # false runs the node every time

    @model_validator(mode="after")
    def _shared_memory_is_memory(self) -> ResourcesConfig:
        if self.shared_memory_gb >= self.memory_gb:
            raise ValueError(
                f"shared_memory_gb={self.shared_memory_gb:g} is a part of memory_gb={self.memory_gb:g}, so "
                "it must be less"
            )
        return self


def _safe_mount(path: str) -> str:
    folder = PurePosixPath(path)
    if str(folder) != path or ".." in folder.parts or ":" in path:
        raise ValueError(f"{path!r} must be written plainly, without .., //, : or / at its end")
    if path == "/" or path in _OF_THE_LAUNCHER or any(folder.is_relative_to(taken) for taken in _TAKEN):
        raise ValueError(f"{path} is needed by the container itself; mount it elsewhere, such as at /data")
    return path


class VolumeConfig(Section):
    """A PersistentVolumeClaim that every node sees."""

    claim: KubernetesName
    mount_path: Annotated[str, Field(pattern="^/"), AfterValidator(_safe_mount)]


class SecretConfig(Section):
    """A Kubernetes secret whose keys become environment variables of every node."""

    name: KubernetesName
    # variable by key
    env: dict[Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")], Variable] = Field(min_length=1)


class KubeflowConfig(Section):
    """Where the compiled graph runs."""

    # The server of Kubeflow Pipelines
    # its URL; empty means $KF_PIPELINES_ENDPOINT, or inside a pod the server of its cluster
    host: str = Field("", pattern=r"^(https?://[^\s]+)?$")
    namespace: KubernetesName | None = None  # the user's, where Kubeflow has several users
    experiment: str | None = Field(None, min_length=1)  # under which runs are listed; none means `name`
    # when the schedule runs, in UTC: minute hour day month weekday, with or without a second before them
    cron: Annotated[str, AfterValidator(check_cron)] | None = None
    service_account: KubernetesName | None = None  # of the pods; none means that of Kubeflow

    # What runs, and where its files are
    image: Image = "breakhis-knet:latest"
    image_pull_secrets: tuple[KubernetesName, ...] = ()  # for a registry that asks who you are
    pipeline_root: str = Field("minio://mlpipeline/knet", pattern=r"^(minio|s3|gs)://[^/]+")
    data_source: str = "/data/BreaKHis_v1"  # as the containers see it; a parameter of a run
    data_root: str = ""  # likewise, where the source is a manifest
    schema_file: str = "/app/schemas/breakhis.pbtxt"  # likewise
    # likewise, and writable: a folder that outlives a container, or a killed training begins anew
    checkpoints: str = "/data/checkpoints"
    cache_root: str = "/cache/feature-maps"  # likewise; on a volume, or every training computes its own
    # what runs leave for later ones, and their reports: a folder on a volume, or s3://bucket/folder; likewise
    registry: str = Field("/data/registry", pattern=r"^(/|s3://[^/]|gs://[^/])")
    push_folder: str = "/models/knet"  # likewise; TF Serving's model base path, on a volume
    tuner_pods: bool = False  # the search runs in the pods of k8s/tuner, not in the Tuner's own
    # a folder on a volume that the pods of a search, and Beam's workers elsewhere, have at the same path
    exchange: str | None = Field(None, pattern="^/.")
    volumes: tuple[VolumeConfig, ...] = ()
    secrets: tuple[SecretConfig, ...] = ()
    env: Environment = {}  # of every node
    retries: int = Field(1, ge=0)  # of a node that fails
    # by node, such as Trainer-resnet152, or by the first word of its name, such as Trainer
    resources: dict[str, ResourcesConfig] = {}

    @model_validator(mode="after")
    def _volumes_do_not_collide(self) -> KubeflowConfig:
        paths = [volume.mount_path for volume in self.volumes]
        for number, path in enumerate(paths):
            if path in paths[:number]:
                raise ValueError(f"volumes.{number}.mount_path: {path} is that of another volume too")
        return self

    @model_validator(mode="after")
    def _exchange_is_on_a_volume(self) -> KubeflowConfig:
        mounts = [volume.mount_path for volume in self.volumes]
        exchange = PurePosixPath(self.exchange or "/")
        if self.exchange and not any(exchange.is_relative_to(mount) for mount in mounts):
            raise ValueError(f"exchange: {exchange} is on none of the volumes, which are at {mounts}")
        if self.tuner_pods and not self.exchange:
            raise ValueError(
                "tuner_pods: the pods of a search read the examples in kubeflow.exchange; name a folder "
                "there that is on one of kubeflow.volumes"
            )
        return self

    @model_validator(mode="after")
    def _variables_do_not_collide(self) -> KubeflowConfig:
        given = [
            (f"secrets.{number}.env.{key}", variable)
            for number, secret in enumerate(self.secrets)
            for key, variable in secret.env.items()
        ]
        for number, (field, variable) in enumerate(given):
            if variable in self.env or variable in [name for _, name in given[:number]]:
                raise ValueError(f"{field}: the variable {variable} is given elsewhere too")
        return self

    @model_validator(mode="after")
    def _keys_to_a_bucket(self) -> KubeflowConfig:
        """The launcher has keys to the pipeline root; what the code itself opens needs some too."""
        variables = {variable for secret in self.secrets for variable in secret.env.values()}
        missing = [key for key in _KEYS if key not in variables]
        for field, value in self:
            in_s3 = isinstance(value, str) and value.startswith(("s3://", "minio://"))
            if in_s3 and field != "pipeline_root" and missing and self.service_account is None:
                raise ValueError(
                    f"{field} is {value}, but no secret gives {' and '.join(missing)}; name one in "
                    "kubeflow.secrets, or a kubeflow.service_account that may read there"
                )
        return self

    @property
    def kept_nowhere(self) -> list[str]:
        """Fields of folders that are to outlive a container, but are on no volume."""
        mounts = [volume.mount_path for volume in self.volumes]
        return [
            field
            for field in ("checkpoints", "cache_root", "registry", "push_folder")
            if "://" not in (place := getattr(self, field))
            and not any(PurePosixPath(place).is_relative_to(mount) for mount in mounts)
        ]

    def resources_of(self, node: str) -> ResourcesConfig:
        """Those of a node: its own, else its kind's, else the default ones."""
        kind = node.partition("-")[0]
        return self.resources.get(node) or self.resources.get(kind) or ResourcesConfig()
