"""Compiler of the pipeline for Kubeflow Pipelines: a PipelineSpec, and a SinglePlatformSpec beside it."""

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

from knet.base import node_ids
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.data import breakhis
from pipeline.config.config import Config
from pipeline.config.kubeflow import KubeflowConfig, ResourcesConfig
from pipeline.dag import DataRef, PipelinePaths, create_pipeline
from pipeline.kubeflow.artifact_uris import SHARED_DIR_VARIABLE
from pipeline.kubeflow.candidate_failures import MAY_FAIL_VARIABLE
from pipeline.kubeflow.entrypoint import INPUTS_SPEC, OUTPUTS_SPEC
from pipeline.kubeflow.graph_edits import (
    add_end,
    add_report,
    add_start,
    add_visualizations,
    wire_parameters,
)
from pipeline.kubeflow.notifications import notifications_environment
from pipeline.kubeflow.run_state import NODE_VARIABLE, REGISTRY_VARIABLE, RUN_ID_VARIABLE
from pipeline.runners.beam import beam_args

_ENTRYPOINT = ["python", "-m", "pipeline.kubeflow.entrypoint"]


def compile_pipeline(config: Config, output: Path, *, confirmed: bool = False) -> None:
    """Write two YAML documents: the PipelineSpec (schema version 2.1.0) and the SinglePlatformSpec.

    The same configuration and code give the same bytes.

    Args:
        config: the experiment; its `kubeflow` section names image, pipeline root, volumes and resources.
        output: a `.yaml` file.
        confirmed: default of the parameter `confirmed`: whether a run starts although its gate must refuse
            every model, for too few test patients.

    Raises:
        UserError: the configuration cannot run on Kubeflow.
    """
    config = _with_slices(config)
    _check_schema(config)
    documents = complete_spec(compile_spec(config), config, confirmed=confirmed)
    atomic_write(output, yaml.safe_dump_all(documents, sort_keys=True))


def compile_spec(config: Config) -> dict[str, Any]:
    """Compile the PipelineSpec with TFX, for `pipeline.kubeflow.entrypoint`.

    Args:
        config: the experiment, with `data.slices` set.

    Returns:
        The PipelineSpec as parsed JSON, before `complete_spec`.
    """
    kubeflow = config.kubeflow
    # RunStart finds the rest of the description of data and schema when the pipeline runs.
    pipeline = create_pipeline(
        config,
        DataRef(
            source=kubeflow.data_source,
            root=kubeflow.data_root,
            schema_file=kubeflow.schema_file,
        ),
        PipelinePaths(
            artifacts=kubeflow.pipeline_root,
            served=kubeflow.push_folder,
            checkpoints=kubeflow.checkpoints,
            feature_cache=kubeflow.cache_root,
        ),
        tuner_pod_hours=kubeflow.tuner_pods_hours if kubeflow.tuner_pods else 0,
        beam_args=beam_args(config.beam),
    )
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            use_pipeline_spec_2_1=True, default_image=kubeflow.image, default_commands=_ENTRYPOINT
        )
    )
    job = runner.run(pipeline, write_out=False)
    spec: dict[str, Any] = job["pipelineSpec"]
    return {**spec, "defaultPipelineRoot": kubeflow.pipeline_root}  # TFX leaves it to the client


def _check_schema(config: Config) -> None:
    """Check that the schema is not the bundled one where that cannot match.

    On one machine a schema of the data's columns and classes is written; a cluster needs a file.

    Raises:
        UserError: it is, and the data are a manifest or have more than two classes.
    """
    if config.kubeflow.schema_file != KubeflowConfig().schema_file:
        return
    count = len(config.data.classes)
    if count > 2 or config.kubeflow.data_source.endswith(".csv"):
        of = f"{count} classes" if count > 2 else "a manifest"
        raise UserError(
            f"kubeflow.schema_file: the bundled schema is that of BreaKHis with two classes, not of {of}; "
            "write one with `knet schema infer --data FOLDER --output FILE`, and set kubeflow.schema_file to "
            "its path in the containers"
        )


def _with_slices(config: Config) -> Config:
    """Return the configuration with the columns to slice by.

    Raises:
        UserError: the data source is a manifest, which is not read here, and `data.slices` is not set.
    """
    if config.data.slices is None and config.kubeflow.data_source.lower().endswith(".csv"):
        raise UserError(
            "kubeflow.data_source is a manifest, which is read when the pipeline runs: name its columns to "
            "slice by in data.slices, or set data.slices=[]"
        )
    return config.with_slices(breakhis.SLICES)


# Kinds of nodes that run Beam.
_BEAM = {node_ids.EXAMPLE_GEN, node_ids.STATISTICS_GEN, node_ids.TRANSFORM, node_ids.EVALUATOR}
_NODE_ID = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,62}")


def complete_spec(
    spec: dict[str, Any], config: Config, *, confirmed: bool = False
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Complete TFX's PipelineSpec for open-source Kubeflow Pipelines.

    Args:
        spec: TFX's PipelineSpec as parsed JSON; it stays unchanged.
        config: the experiment.
        confirmed: default of the parameter `confirmed`.

    Returns:
        The PipelineSpec, with the nodes `RunStart`, `RunReport` and `RunEnd`, parameters of the run, retries,
        environment and resources; and the SinglePlatformSpec of Kubernetes, with volumes, secrets, node
        selectors and tolerations.

    Raises:
        UserError: `kubeflow.resources` names no node, remote workers lack `kubeflow.shared_dir`, or Kubeflow
            does not accept the name of a node.
    """
    completed = copy.deepcopy(spec)
    _declare_outputs(completed)
    add_start(completed, config)
    wire_parameters(completed, config, confirmed=confirmed)
    add_report(completed)
    add_visualizations(completed)
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
        variables = {
            **config.kubeflow.env,
            **resources.env,
            **_shared_dir(config, name),
            **_may_fail(config, name),
            **(notifications_environment(config) if name == node_ids.RUN_END else {}),
            NODE_VARIABLE: name,
            REGISTRY_VARIABLE: config.kubeflow.registry,
        }
        container["env"] = [{"name": key, "value": value} for key, value in sorted(variables.items())]
        container["resources"] = _requests_and_limits(resources)
        if not resources.cache:
            task.pop("cachingOptions", None)
        task["retryPolicy"] = {
            "maxRetryCount": config.kubeflow.retries,
            "backoffDuration": "30s",
            "backoffFactor": 2.0,
            "backoffMaxDuration": "600s",
        }
        platform[label] = _pod(config.kubeflow, name)
    return completed, {"platforms": {"kubernetes": {"deploymentSpec": {"executors": platform}}}}


def _declare_outputs(spec: dict[str, Any]) -> None:
    """Compile the outputs of every component into the arguments of its container.

    The launcher's message cannot be their source, since launchers add outputs. Neither can the executor,
    whose class does not know its component. The compiled definitions hold the types in the form that TFX
    parses.
    """
    for component in spec["components"].values():
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        index = container["args"].index(INPUTS_SPEC)
        outputs = json.dumps(component.get("outputDefinitions", {}), sort_keys=True)
        container["args"][index:index] = [OUTPUTS_SPEC, outputs]


def _check_names(kubeflow: KubeflowConfig, nodes: Collection[str]) -> None:
    for node in nodes:
        if not _NODE_ID.fullmatch(node):
            raise UserError(
                f"the node {node} cannot run on Kubeflow, which names pods after it: an id has letters, "
                "digits and hyphens, at most 63"
            )
    kinds = {node_ids.kind(node) for node in nodes}
    for name in kubeflow.resources:
        if name not in kinds and name not in nodes:
            raise UserError(f"kubeflow.resources.{name}: no such node; there are {', '.join(sorted(nodes))}")


def _shared_dir(config: Config, node: str) -> dict[str, str]:
    """Return the variable that names the shared folder, if other pods read the artifacts of a node.

    Raises:
        UserError: other pods read them, but `kubeflow.shared_dir` is not set.
    """
    kind = node_ids.kind(node)
    if not (
        (config.beam.remote and kind in _BEAM) or (config.kubeflow.tuner_pods and kind == node_ids.TUNER)
    ):
        return {}
    if config.kubeflow.shared_dir is None:
        raise UserError(
            "kubeflow.shared_dir: not set, but the --runner in beam.args uses remote workers; set it to a "
            "folder on one of kubeflow.volumes that the workers mount at the same path"
        )
    return {SHARED_DIR_VARIABLE: config.kubeflow.shared_dir}


def _may_fail(config: Config, node: str) -> dict[str, str]:
    """Return the variable of a container whose failure leaves the run to the other candidates.

    It is no argument, which would be part of the cache key.
    """
    return {MAY_FAIL_VARIABLE: "1"} if node_ids.candidate(node) and not config.selection.require_all else {}


def _requests_and_limits(resources: ResourcesConfig) -> dict[str, Any]:
    """Return a ResourceSpec as JSON. Requests are explicit, since a ResourceQuota may count them."""
    spec: dict[str, Any] = {
        "cpuLimit": resources.cpu,
        "cpuRequest": resources.cpu_request or resources.cpu,
        "memoryLimit": resources.memory_gb,
        "memoryRequest": resources.memory_request_gb or resources.memory_gb,
    }
    if resources.gpus:
        spec["accelerator"] = {"type": resources.gpu_type, "count": str(resources.gpus)}
    return spec


def _pod(kubeflow: KubeflowConfig, node: str) -> dict[str, Any]:
    """Return the KubernetesExecutorConfig (kfp-kubernetes) of a node as JSON."""
    resources = kubeflow.resources_of(node)
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
        "fieldPathAsEnv": [{"name": RUN_ID_VARIABLE, "fieldPath": "metadata.labels['pipeline/runid']"}],
    }
    if labels := kubeflow.node_selector_of(node):
        pod["nodeSelector"] = {"labels": labels}
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
