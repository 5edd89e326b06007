"""Runs a compiled graph on the cluster, once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pipeline.config import KubeflowConfig
from pipeline.runners.kubeflow.read_compiled import read_compiled
from pipeline.runners.kubeflow.upload import UploadedVersion, upload


@dataclass(frozen=True)
class SubmittedRun:
    """A run that was started."""

    run_id: str
    name: str
    version: UploadedVersion


def submit(client: Any, file: Path, *, config: KubeflowConfig, parameters: Mapping[str, Any]) -> SubmittedRun:
    """Uploads the graph, where it is new, and starts a run of exactly that version.

    Args:
        client: a kfp.Client.
        file: what `knet kubeflow compile` wrote.
        config: says where: namespace, experiment and service account.
        parameters: of the run, where they differ from their defaults.

    Raises:
        UserError: the file is no compiled pipeline.
    """
    version = upload(client, file, namespace=config.namespace)
    place = client.create_experiment(config.experiment or version.pipeline, namespace=config.namespace)
    name = f"{version.pipeline}-{datetime.now(timezone.utc):%Y%m%d-%H%M%S}"
    run = client.run_pipeline(
        experiment_id=place.experiment_id,
        job_name=name,
        params=dict(parameters),
        pipeline_id=version.pipeline_id,
        version_id=version.version_id,
        pipeline_root=read_compiled(file)["defaultPipelineRoot"],
        service_account=config.service_account,
    )
    return SubmittedRun(run.run_id, name, version)
