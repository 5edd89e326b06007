"""Settings of Kubeflow Pipelines: server, image, storage, volumes, secrets, resources of nodes."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from knet.base import node_ids
from knet.base.settings import LocalPath, Section
from pipeline.config.cron import check_cron
from pipeline.config.notifications import NotificationsConfig, Variable

KubernetesName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
# Name and tag or digest, such as registry.example.org/knet:1.0.
Image = Annotated[str, Field(pattern=r"^[a-z0-9][-a-zA-Z0-9._:/]*(@sha256:[0-9a-f]{64})?$")]
Quantity = Annotated[float, Field(gt=0, allow_inf_nan=False)]
LabelKey = Annotated[str, Field(pattern=r"^([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
Labels = dict[LabelKey, LabelValue]

# A mount there would hide the system, the code, or files of Kubeflow's launcher.
_SYSTEM = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr")
_RESERVED = (*_SYSTEM, "/app", "/opt", "/tmp", "/kfp-launcher")
_LAUNCHER_ROOTS = ("/minio", "/s3", "/gcs")
_SECRET = re.compile(r"SECRET|PASSWORD|TOKEN|CREDENTIAL|ACCESS_KEY", re.IGNORECASE)
_S3_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def _plain_environment(variables: dict[str, str]) -> dict[str, str]:
    for name in variables:
        if _SECRET.search(name):
            raise ValueError(
                f"{name} looks like a secret, which the compiled pipeline would disclose; put it in a "
                "Kubernetes secret and name that in kubeflow.secrets"
            )
    return variables


Environment = Annotated[dict[Variable, str], AfterValidator(_plain_environment)]


class TolerationConfig(Section):
    """Toleration of a taint, so that pods may be scheduled on tainted nodes of the cluster."""

    key: LabelKey = Field(description="Key of the taint.")
    operator: Literal["Equal", "Exists"] = Field("Exists", description="Comparison with the taint's value.")
    value: LabelValue | None = Field(None, description="Value of the taint; required with Equal.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="Effect of the taint. null: every effect."
    )

    @model_validator(mode="after")
    def _value_with_equal(self) -> TolerationConfig:
        if self.operator == "Equal" and self.value is None:
            raise ValueError("operator Equal needs a value")
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator Exists accepts no value")
        return self


class ResourcesConfig(Section):
    """Container of a node of the graph: image, resource limits, scheduling."""

    image: Image | None = Field(None, description="Image of the node. null: kubeflow.image.")
    cpu: Quantity = Field(2, description="CPU limit.", json_schema_extra={"unit": "cores"})
    cpu_request: Quantity | None = Field(
        None, description="CPU request, at most cpu. null: cpu.", json_schema_extra={"unit": "cores"}
    )
    memory_gb: Quantity = Field(8, description="Memory limit.", json_schema_extra={"unit": "GB"})
    memory_request_gb: Quantity | None = Field(
        None,
        description="Memory request, at most memory_gb. null: memory_gb.",
        json_schema_extra={"unit": "GB"},
    )
    gpus: int = Field(0, ge=0, description="Number of GPUs.", json_schema_extra={"unit": "GPUs"})
    gpu_type: Literal["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915"] = Field(
        "nvidia.com/gpu", description="Kubernetes resource name of the GPUs."
    )
    node_selector: Labels = Field(
        {},
        description="Labels that the machine must have, beside those of kubeflow.node_selector and, with "
        "GPUs, kubeflow.gpu_node_selector.",
    )
    tolerations: tuple[TolerationConfig, ...] = Field((), description="Tolerations of the pod.")
    shared_memory_gb: float = Field(
        0,
        ge=0,
        allow_inf_nan=False,
        description="Part of the memory that is mounted as /dev/shm; less than memory_gb.",
        json_schema_extra={"unit": "GB"},
    )
    env: Environment = Field(
        {}, description="Environment variables beside those of kubeflow.env; no secrets."
    )
    cache: bool = Field(True, description="Answer the node from Kubeflow's cache; false runs it every time.")

    @model_validator(mode="after")
    def _requests_are_within_limits(self) -> ResourcesConfig:
        for field, request, limit in (
            ("cpu_request", self.cpu_request, self.cpu),
            ("memory_request_gb", self.memory_request_gb, self.memory_gb),
        ):
            if request is not None and request > limit:
                raise ValueError(
                    f"{field}={request:g} must be at most the limit, which is {limit:g}; lower it, or raise "
                    f"{field.replace('_request', '')}"
                )
        return self

    @model_validator(mode="after")
    def _shared_memory_is_memory(self) -> ResourcesConfig:
        if self.shared_memory_gb >= self.memory_gb:
            raise ValueError(
                f"shared_memory_gb={self.shared_memory_gb:g} is part of memory_gb={self.memory_gb:g}, so it "
                "must be less"
            )
        return self


def _safe_mount(path: str) -> str:
    folder = PurePosixPath(path)
    if str(folder) != path or ".." in folder.parts or ":" in path:
        raise ValueError(f"{path!r} must be a normalized path, without .., //, : or / at its end")
    if (
        path == "/"
        or path in _LAUNCHER_ROOTS
        or any(folder.is_relative_to(reserved) for reserved in _RESERVED)
    ):
        raise ValueError(f"{path} is reserved by the container; mount the volume elsewhere, such as at /data")
    return path


class VolumeConfig(Section):
    """PersistentVolumeClaim that is mounted into every node."""

    claim: KubernetesName = Field(description="Name of the claim.")
    mount_path: Annotated[str, Field(pattern="^/"), AfterValidator(_safe_mount)] = Field(
        description="Absolute path in the containers; not below system folders, /app, /opt or /tmp."
    )


class SecretConfig(Section):
    """Kubernetes secret whose keys become environment variables of every node."""

    name: KubernetesName = Field(description="Name of the secret.")
    env: dict[Annotated[str, Field(pattern=r"^[-._a-zA-Z0-9]+$")], Variable] = Field(
        min_length=1, description="Environment variable of each key of the secret."
    )


class KubeflowConfig(Section):
    """Kubeflow Pipelines, for `knet kubeflow`."""

    host: str = Field(
        "",
        pattern=r"^(https?://[^\s]+)?$",
        description="URL of the Kubeflow Pipelines API. Empty: $KF_PIPELINES_ENDPOINT, or in a pod the "
        "server of its cluster.",
    )
    namespace: KubernetesName | None = Field(
        None,
        description="Namespace (profile) of the user in a multi-user Kubeflow. null: that of the overlay, if "
        "--config names its folder; otherwise single-user.",
    )
    ca_file: LocalPath | None = Field(
        None,
        description="PEM file of the authorities that sign the server's certificate, for https. null: those "
        "of the machine.",
    )
    experiment: str | None = Field(
        None, min_length=1, description="Experiment that runs are listed under. null: `name`."
    )
    cron: Annotated[str, AfterValidator(check_cron)] | None = Field(
        None,
        description="Schedule in UTC as a cron expression: minute hour day month weekday, such as 0 2 * * "
        "*; a sixth field in front is the second.",
    )
    service_account: KubernetesName | None = Field(
        None, description="Service account of the pods. null: Kubeflow's default."
    )
    image: Image = Field("breakhis-knet:latest", description="Container image of the nodes.")
    image_pull_secrets: tuple[KubernetesName, ...] = Field(
        (), description="Secrets with the credentials of a private registry."
    )
    pipeline_root: str = Field(
        "minio://mlpipeline/knet",
        pattern=r"^(minio|s3|gs)://[^/]+",
        description="Object store location of the artifacts.",
    )
    data_source: str = Field(
        "/data/BreaKHis_v1",
        description="`data.source` as the containers see it; a run parameter.",
    )
    data_root: str = Field(
        "", description="`data.root` as the containers see it, for a manifest; a run parameter."
    )
    schema_file: str = Field(
        "/app/schemas/breakhis.pbtxt",
        description="`data.schema_file` as the containers see it.",
    )
    checkpoints: str = Field(
        "/data/checkpoints",
        description="Writable folder for checkpoints; on a volume, otherwise an interrupted training starts "
        "over.",
    )
    cache_root: str = Field(
        "/cache/feature-maps",
        description="Writable folder for cached feature maps; on a volume, otherwise every training "
        "computes them again.",
    )
    registry: str = Field(
        "/data/registry",
        pattern=r"^(/|s3://[^/]|gs://[^/])",
        description="Run registry and reports: a folder on a volume, or s3://bucket/folder. A run parameter.",
    )
    push_folder: str = Field(
        "/models/knet",
        description="Model base path of TF Serving, on a volume.",
    )
    tuner_pods: bool = Field(
        False,
        description="Run the search in the pods of k8s/tuner instead of the Tuner's own; needs shared_dir.",
    )
    tuner_pods_hours: int = Field(
        12,
        ge=1,
        description="The Tuner fails if these pods change no file of the search for so long; a trial must be "
        "shorter.",
        json_schema_extra={"unit": "hours"},
    )
    shared_dir: str | None = Field(
        None,
        pattern="^/.",
        description="Folder on a volume that the pods of a search and remote Beam workers mount at the same "
        "path.",
    )
    volumes: tuple[VolumeConfig, ...] = Field((), description="Volumes of every node.")
    secrets: tuple[SecretConfig, ...] = Field((), description="Secrets of every node.")
    env: Environment = Field({}, description="Environment variables of every node; no secrets.")
    node_selector: Labels = Field(
        {}, description="Labels that the machine of every node must have, such as the one with the volumes."
    )
    gpu_node_selector: Labels = Field(
        {},
        description="Labels that the machines of nodes with GPUs must have, such as {nvidia.com/gpu.product: "
        "NVIDIA-L4}.",
    )
    retries: int = Field(
        1, ge=0, description="Retries of a failed node.", json_schema_extra={"unit": "retries"}
    )
    notifications: NotificationsConfig | None = Field(
        None, description="Notification at the end of a run. null: none."
    )
    resources: dict[str, ResourcesConfig] = Field(
        {},
        description="Container of a node by its name, such as Trainer-resnet152, or by its kind, such as "
        "Trainer.",
    )

    @model_validator(mode="after")
    def _volumes_do_not_collide(self) -> KubeflowConfig:
        paths = [volume.mount_path for volume in self.volumes]
        for number, path in enumerate(paths):
            if path in paths[:number]:
                raise ValueError(f"volumes.{number}.mount_path: {path} is the path of another volume too")
        return self

    @model_validator(mode="after")
    def _shared_dir_is_on_a_volume(self) -> KubeflowConfig:
        mounts = [volume.mount_path for volume in self.volumes]
        shared = PurePosixPath(self.shared_dir or "/")
        if self.shared_dir and not any(shared.is_relative_to(mount) for mount in mounts):
            raise ValueError(f"shared_dir: {shared} is on none of the volumes, which are at {mounts}")
        if self.tuner_pods and not self.shared_dir:
            raise ValueError(
                "tuner_pods: the pods of a search read the examples in kubeflow.shared_dir; set it to a "
                "folder on one of kubeflow.volumes"
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
                raise ValueError(f"{field}: the variable {variable} is set twice; remove one")
        return self

    @model_validator(mode="after")
    def _variables_of_notifications(self) -> KubeflowConfig:
        given = {*self.env, *self.resources_of(node_ids.RUN_END).env, *self._secret_variables}
        for field in ("url_variable", "token_variable"):
            variable = getattr(self.notifications, field, None)
            if variable and variable not in given:
                raise ValueError(
                    f"notifications.{field}: no secret gives {variable}; name one in kubeflow.secrets"
                )
        return self

    @model_validator(mode="after")
    def _keys_to_a_bucket(self) -> KubeflowConfig:
        """Check that object store paths have credentials; the launcher has those of pipeline_root only."""
        missing = [key for key in _S3_KEYS if key not in self._secret_variables]
        for field, value in self:
            in_s3 = isinstance(value, str) and value.startswith(("s3://", "minio://"))
            if in_s3 and field != "pipeline_root" and missing and self.service_account is None:
                raise ValueError(
                    f"{field} is {value}, but no secret gives {' and '.join(missing)}; name one in "
                    "kubeflow.secrets, or a kubeflow.service_account that may read there"
                )
        return self

    @property
    def _secret_variables(self) -> set[str]:
        return {variable for secret in self.secrets for variable in secret.env.values()}

    @property
    def ephemeral_paths(self) -> dict[str, str]:
        """Fields of folders that must outlive a container but are on no volume, with the consequences."""
        mounts = [volume.mount_path for volume in self.volumes]
        return {
            field: consequence
            for field, consequence in _PERSISTENT_PATHS.items()
            if "://" not in (place := getattr(self, field))
            and not any(PurePosixPath(place).is_relative_to(mount) for mount in mounts)
        }

    def resources_of(self, node: str) -> ResourcesConfig:
        """Return the resources of a node: by its name, else by its kind, else the defaults."""
        kind = node_ids.kind(node)
        return self.resources.get(node) or self.resources.get(kind) or ResourcesConfig()

    def node_selector_of(self, node: str) -> Labels:
        """Return the labels that the machine of a node must have."""
        resources = self.resources_of(node)
        gpu = self.gpu_node_selector if resources.gpus else {}
        return {**self.node_selector, **gpu, **resources.node_selector}


# Fields of folders that must outlive a container, and the consequence if one does not.
_PERSISTENT_PATHS = {
    "checkpoints": "an interrupted training starts over",
    "cache_root": "every training computes feature maps again",
    "registry": "reports are lost, and no run knows of earlier ones",
    "push_folder": "TF Serving gets no model",
}
