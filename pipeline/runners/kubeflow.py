"""Compiles the graph for Kubeflow Pipelines."""

from __future__ import annotations

from pathlib import Path

from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import (
    KubeflowV2DagRunner,
    KubeflowV2DagRunnerConfig,
)

import schemas
from pipeline.config import Config
from pipeline.dag import create_pipeline
from pipeline.digest import file_digest
from pipeline.registry import KeptPredictions
from pipeline.runners.beam_args import beam_args


def compile_pipeline(config: Config, output: Path) -> None:
    """Writes the graph as a Kubeflow Pipelines spec, schema version 2.1.0.

    Args:
        config: the experiment; its `kubeflow` section names image, pipeline root and data folder.
        output: a `.yaml` file.
    """
    # What is in production is known when the graph runs.
    compared = config.gate.margin is not None and config.kubeflow.baseline
    baseline = KeptPredictions(Path(config.kubeflow.baseline), digest="", version="") if compared else None
    pipeline = create_pipeline(
        config,
        data_source=config.kubeflow.data_source,
        data_root=config.kubeflow.data_root,
        fingerprint="",
        split_sha256="",
        span=0,
        synthetic_data=False,
        schema_file=config.kubeflow.schema_file,
        schema_digest=file_digest(config.data.schema_file or schemas.BREAKHIS),
        pipeline_root=config.kubeflow.pipeline_root,
        push_folder=f"{config.kubeflow.pipeline_root}/serving",
        checkpoints=config.kubeflow.checkpoints,
        cache_root=config.kubeflow.cache_root,
        baseline=baseline,
        beam_args=beam_args(config.beam),
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    runner_config = KubeflowV2DagRunnerConfig(use_pipeline_spec_2_1=True, default_image=config.kubeflow.image)
    KubeflowV2DagRunner(runner_config, output_dir=str(output.parent), output_filename=output.name).run(
        pipeline
    )
