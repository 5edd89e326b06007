"""Compiles the graph for Kubeflow Pipelines."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

import schemas
from knet.base.digests import file_digest
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.data import breakhis
from pipeline.config.config import Config
from pipeline.config.kubeflow import KubeflowConfig, ResourcesConfig
from pipeline.dag import DataRef, PipelinePaths, create_pipeline
from pipeline.kubeflow.artifact_uris import EXCHANGE
from pipeline.kubeflow.entrypoint import INPUTS_SPEC, OUTPUTS_SPEC
from pipeline.kubeflow.graph_edits import add_end, add_report, add_start, wire_parameters
from pipeline.kubeflow.run_state import NODE, REGISTRY, RUN
from pipeline.runners.beam import beam_args

_ENTRYPOINT = ["python", "-m", "pipeline.kubeflow.entrypoint"]


def compile_pipeline(config: Config, output: Path) -> None:
    """Writes two YAML documents: the PipelineSpec, schema version 2.1.0, and what is Kubernetes' alone.

    The same configuration and code give the same bytes.

    Args:
        config: the experiment; its `kubeflow` section names image, pipeline root, volumes and resources.
        output: a `.yaml` file.
    """
    config = _with_columns(config)
    documents = complete_spec(compile_spec(config), config)
    atomic_write(output, yaml.safe_dump_all(documents, sort_keys=True))


def compile_spec(config: Config) -> dict[str, Any]:
    """The PipelineSpec as TFX makes it, with our entrypoint.

    Args:
        config: the experiment; the columns to slice by are known.
    """
    kubeflow = config.kubeflow
    # The first node finds the rest of the data's description when the graph runs.
    pipeline = create_pipeline(
        config,
        DataRef(
            source=kubeflow.data_source,
            root=kubeflow.data_root,
            schema_file=kubeflow.schema_file,
            schema_digest=file_digest(config.data.schema_file or schemas.BREAKHIS),
        ),
        PipelinePaths(
            artifacts=kubeflow.pipeline_root,
            served=kubeflow.push_folder,
            checkpoints=kubeflow.checkpoints,
            feature_cache=kubeflow.cache_root,
        ),
        tuner_pods=kubeflow.tuner_pods,
        beam_args=beam_args(config.beam),
    )
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            use_pipeline_spec_2_1=True, default_image=kubeflow.image, default_commands=_ENTRYPOINT
        )
    )
    job = runner.run(pipeline, write_out=False)
    spec: dict[str, Any] = job["pipelineSpec"]
    return {**spec, "defaultPipelineRoot": kubeflow.pipeline_root}  # which TFX leaves to the client


def _with_columns(config: Config) -> Config:
    """The same, with the columns to slice by.

    Raises:
        UserError: those of a manifest, which is not read here, are not named.
    """
    if config.data.slices is None and config.kubeflow.data_source.lower().endswith(".csv"):
        raise UserError(
            "kubeflow.data_source is a manifest, which is not read before the graph runs: name its columns "
            "to slice by in data.slices, or set data.slices=[]"
        )
    return config.with_slices(breakhis.SLICES)


# The kinds of nodes that run Beam.
_BEAM = {"BreakHisExampleGen", "StatisticsGen", "Transform", "Evaluator"}
_SAFE = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,62}")


def complete_spec(spec: dict[str, Any], config: Config) -> tuple[dict[str, Any], dict[str, Any]]:
    """A PipelineSpec that the backend takes, and the document of the platform beside it.

    Args:
        spec: TFX's PipelineSpec, as JSON knows it.
        config: the experiment.

    Returns:
        The PipelineSpec, with a first node that looks at the data and into the run registry, a last one that
        writes the report, one that runs whatever happens, parameters of the run, retries, environment and
        resources; and the SinglePlatformSpec of Kubernetes, with volumes, secrets, node selectors and
        tolerations.

    Raises:
        UserError: the configuration has resources for a node that there is not, or sends Beam elsewhere
            without a place to share files, or a node has a name that Kubeflow does not take.
    """
    completed = copy.deepcopy(spec)
    _declare_outputs(completed)
    add_start(completed, config)
    wire_parameters(completed, config)
    add_report(completed)
    add_end(completed)
    tasks = {
        name: task
        for tree in (completed["root"], *completed["components"].values())
        for name, task in tree.get("dag", {}).get("tasks", {}).items()
        if "executorLabel" in completed["components"][task["componentRef"]["name"]]
    }
    executors = completed["deploymentSpec"]["executors"]
    _check_names(config.kubeflow, tasks)
    platform = {}
    for name, task in tasks.items():
        label = completed["components"][task["componentRef"]["name"]]["executorLabel"]
        resources = config.kubeflow.resources_of(name)
        container = executors[label]["container"]
        container["image"] = resources.image or container["image"]
        notes = {NODE: name, REGISTRY: config.kubeflow.registry}
        variables = {**config.kubeflow.env, **resources.env, **_exchange(config, name), **notes}
        container["env"] = [{"name": key, "value": value} for key, value in sorted(variables.items())]
        container["resources"] = _limits(resources)
        if not resources.cache:
            task.pop("cachingOptions", None)
        task["retryPolicy"] = {
            "maxRetryCount": config.kubeflow.retries,
            "backoffDuration": "30s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": "600s",
        }
        platform[label] = _pod(config.kubeflow, resources)
    return completed, {"platforms": {"kubernetes": {"deploymentSpec": {"executors": platform}}}}


def _declare_outputs(spec: dict[str, Any]) -> None:
    """Compiles the outputs of every component of TFX or ours into the arguments of its container.

    The launcher's message cannot be the source of them: launchers add outputs of their own. Neither can the
    executor, whose class does not know its component; and the compiled definitions hold the types in the form
    that TFX parses.
    """
    for component in spec["components"].values():
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        place = container["args"].index(INPUTS_SPEC)
        outputs = json.dumps(component.get("outputDefinitions", {}), sort_keys=True)
        container["args"][place:place] = [OUTPUTS_SPEC, outputs]


def _check_names(kubeflow: KubeflowConfig, nodes: Collection[str]) -> None:
    for node in nodes:
        if not _SAFE.fullmatch(node):
            raise UserError(
                f"the node {node} cannot run on Kubeflow, which names pods after it: an id has letters, "
                "digits and hyphens, at most 63"
            )
    kinds = {node.partition("-")[0] for node in nodes}
    for name in kubeflow.resources:
        if name not in kinds and name not in nodes:
            raise UserError(f"kubeflow.resources.{name}: no such node; there are {', '.join(sorted(nodes))}")


def _exchange(config: Config, node: str) -> dict[str, str]:
    """The variable by which a node shares its artifacts with pods that work for it.

    Raises:
        UserError: there are such pods, but nothing is shared with them.
    """
    kind = node.partition("-")[0]
    if not ((config.beam.remote and kind in _BEAM) or (config.kubeflow.tuner_pods and kind == "Tuner")):
        return {}
    if config.kubeflow.shared_dir is None:
        raise UserError(
            "kubeflow.shared_dir: with a --runner of other machines in beam.args, name a folder here that "
            "Beam's workers have too, on one of kubeflow.volumes"
        )
    return {EXCHANGE: config.kubeflow.shared_dir}


def _limits(resources: ResourcesConfig) -> dict[str, Any]:
    limits: dict[str, Any] = {"cpuLimit": resources.cpu, "memoryLimit": resources.memory_gb}
    if resources.gpus:
        limits["accelerator"] = {"type": resources.gpu_type, "count": str(resources.gpus)}
    return limits


def _pod(kubeflow: KubeflowConfig, resources: ResourcesConfig) -> dict[str, Any]:
    """A KubernetesExecutorConfig, of kfp-kubernetes."""
    pod: dict[str, Any] = {
        "pvcMount": [
            {"constant": volume.claim, "mountPath": volume.mount_path} for volume in kubeflow.volumes
        ],
        "secretAsEnv": [
            {
                "secretName": secret.name,
                "keyToEnv": [{"secretKey": key, "envVar": variable} for key, variable in secret.env.items()],
            }
            for secret in kubeflow.secrets
        ],
        "imagePullSecret": [{"secretName": name} for name in kubeflow.image_pull_secrets],
        "tolerations": [item.model_dump(exclude_none=True) for item in resources.tolerations],
        "fieldPathAsEnv": [{"name": RUN, "fieldPath": "metadata.labels['pipeline/runid']"}],
    }
    if resources.node_selector:
        pod["nodeSelector"] = {"labels": dict(resources.node_selector)}
    if resources.shared_memory_gb:
        # Workers of tf.data and NCCL share memory; a pod has 64 MB of it by default.
        pod["emptyDirMounts"] = [
            {
                "volumeName": "shared-memory",
                "mountPath": "/dev/shm",
                "medium": "Memory",
                "sizeLimit": f"{resources.shared_memory_gb:g}Gi",
            }
        ]
    return {name: value for name, value in pod.items() if value}
