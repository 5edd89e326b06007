"""A run is of exactly the version that was given, with the parameters that were given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.config import KubeflowConfig
from pipeline.runners.kubeflow.submit import submit


def test_a_run_is_pinned_and_has_its_parameters(
    server: Any, client: Any, config: KubeflowConfig, compiled: Callable[..., Path]
) -> None:
    made = submit(client, compiled(), config=config, parameters={"data_source": "/data/new", "seed": 3})
    run = server.runs[made.run_id]
    assert run.pipeline_version_reference.pipeline_version_id == made.version.version_id
    assert run.runtime_config.parameters == {"data_source": "/data/new", "seed": 3}
    assert run.runtime_config.pipeline_root == "minio://mlpipeline/knet"
    assert server.experiments[run.experiment_id].display_name == "knet-demo"


def test_two_runs_are_of_one_version_in_one_experiment(
    server: Any, client: Any, config: KubeflowConfig, compiled: Callable[..., Path]
) -> None:
    config = config.model_copy(update={"experiment": "nightly", "service_account": "runner"})
    for _ in range(2):
        submit(client, compiled(), config=config, parameters={})
    assert len(server.runs) == 2 and len(server.versions) == len(server.experiments) == 1
    assert {run.service_account for run in server.runs.values()} == {"runner"}
    assert [item.display_name for item in server.experiments.values()] == ["nightly"]
