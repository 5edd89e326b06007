"""Where the compiled graph runs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.config.section import Section

_KUBERNETES_NAME = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"


class TolerationConfig(Section):
    """A taint of nodes that a pod may run on all the same."""

    key: str
    operator: Literal["Equal", "Exists"] = "Exists"
    value: str | None = None  # with Equal
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None  # none means every one


class ResourcesConfig(Section):
    """What a node of the graph gets of the cluster."""

    cpu: float = Field(2, gt=0)  # cores, at most
    memory_gb: float = Field(8, gt=0)  # at most
    gpus: int = Field(0, ge=0)
    gpu_type: Literal["nvidia.com/gpu", "amd.com/gpu", "gpu.intel.com/i915"] = "nvidia.com/gpu"
    node_selector: dict[str, str] = {}  # labels that the machine must have
    tolerations: tuple[TolerationConfig, ...] = ()
    shared_memory_gb: float = Field(0, ge=0)  # of the memory, as /dev/shm


class VolumeConfig(Section):
    """A PersistentVolumeClaim that every node sees."""

    claim: str = Field(pattern=_KUBERNETES_NAME)
    mount_path: str = Field(pattern="^/")


class SecretConfig(Section):
    """A Kubernetes secret whose keys become environment variables of every node."""

    name: str = Field(pattern=_KUBERNETES_NAME)
    env: dict[str, str] = Field(min_length=1)  # variable by key


class KubeflowConfig(Section):
    """Where the compiled graph runs."""

    image: str = "breakhis-knet:latest"
    pipeline_root: str = Field("minio://mlpipeline/knet", pattern=r"^(minio|s3|gs)://[^/]+")
    data_source: str = "/data/BreaKHis_v1"  # as the containers see it; a parameter of a run
    data_root: str = ""  # likewise, where the source is a manifest
    schema_file: str = "/app/schemas/breakhis.pbtxt"  # likewise
    # likewise, and writable: a folder that outlives a container, or a killed training begins anew
    checkpoints: str = "/data/checkpoints"
    tuner_pods: bool = False  # the search runs in the pods of k8s/tuner, not in the Tuner's own
    cache_root: str = "/cache/feature-maps"  # likewise; on a volume, or every training computes its own
    baseline: str = ""  # likewise: predictions (Parquet) of the model in production, for gate.margin
    push_folder: str = "/models/knet"  # likewise; TF Serving's model base path, on a volume
    volumes: tuple[VolumeConfig, ...] = ()
    secrets: tuple[SecretConfig, ...] = ()
    env: dict[str, str] = {}  # of every node
    retries: int = Field(1, ge=0)  # of a node that fails
    # by node, such as Trainer-resnet152, or by the first word of its name, such as Trainer
    resources: dict[str, ResourcesConfig] = {}

    def resources_of(self, node: str) -> ResourcesConfig:
        """Those of a node: its own, else its kind's, else the default ones."""
        kind = node.partition("-")[0]
        return self.resources.get(node) or self.resources.get(kind) or ResourcesConfig()
