"""Compiles the graph for Kubeflow Pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

import schemas
from components.breakhis_example_gen import breakhis_name
from pipeline.config import Config
from pipeline.dag import create_pipeline
from pipeline.digest import file_digest
from pipeline.errors import UserError
from pipeline.runners.beam_args import beam_args
from pipeline.runners.kubeflow.complete_spec import complete_spec
from pipeline.write_whole import write_whole

_ENTRYPOINT = ["python", "-m", "pipeline.runners.kubeflow.entrypoint"]


def compile_pipeline(config: Config, output: Path) -> None:
    """Writes two YAML documents: the PipelineSpec, schema version 2.1.0, and what is Kubernetes' alone.

    The same configuration and code give the same bytes.

    Args:
        config: the experiment; its `kubeflow` section names image, pipeline root, volumes and resources.
        output: a `.yaml` file.
    """
    config = _with_columns(config)
    documents = complete_spec(compile_spec(config), config)
    write_whole(output, yaml.safe_dump_all(documents, sort_keys=True))


def compile_spec(config: Config) -> dict[str, Any]:
    """The PipelineSpec as TFX makes it, with our entrypoint.

    Args:
        config: the experiment; the columns to slice by are known.
    """
    kubeflow = config.kubeflow
    # What is empty here is known when the graph runs.
    pipeline = create_pipeline(
        config,
        data_source=kubeflow.data_source,
        data_root=kubeflow.data_root,
        fingerprint="",
        split_sha256="",
        span=0,
        synthetic_data=False,
        schema_file=kubeflow.schema_file,
        schema_digest=file_digest(config.data.schema_file or schemas.BREAKHIS),
        pipeline_root=kubeflow.pipeline_root,
        push_folder=kubeflow.push_folder,
        checkpoints=kubeflow.checkpoints,
        cache_root=kubeflow.cache_root,
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
    return config.with_slices(breakhis_name.SLICES)
