"""Puts a compiled graph on a schedule of Kubeflow Pipelines, and takes it off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config import KubeflowConfig
from pipeline.errors import UserError
from pipeline.runners.kubeflow.read_compiled import read_compiled
from pipeline.runners.kubeflow.upload import UploadedVersion, every, named, upload

ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}  # of V2beta1RuntimeState
DISABLED = "DISABLED"  # of V2beta1RecurringRunStatus


@dataclass(frozen=True)
class Scheduled:
    """A schedule, as it is now."""

    recurring_run_id: str
    version: UploadedVersion
    new: bool  # false where the same one was there already
    replaced: int  # how many were there under its name


def schedule(
    client: Any, file: Path, *, config: KubeflowConfig, parameters: Mapping[str, Any], stop_runs: bool = False
) -> Scheduled:
    """Makes the one recurring run of a pipeline what is wanted, in place of what there is under its name.

    The server cannot change one, so it is deleted and another created: a command that dies between leaves
    none, and the same command again makes it. One that is as wanted already is left alone; its description
    has the digest of all that was wanted.

    Args:
        client: a kfp.Client.
        file: what `knet kubeflow compile` wrote.
        config: says when and where: cron, namespace, experiment and service account.
        parameters: of every run, where they differ from their defaults.
        stop_runs: replace a schedule although a run of it is going on, which Kubeflow ends with it.

    Raises:
        UserError: the file is no compiled pipeline, or a run is going on.
    """
    version = upload(client, file, namespace=config.namespace)
    place = client.create_experiment(config.experiment or version.pipeline, namespace=config.namespace)
    wanted: dict[str, Any] = {
        "job_name": version.pipeline,
        "cron_expression": config.cron,
        "max_concurrency": 1,
        "no_catchup": True,
        "params": dict(parameters),
        "pipeline_id": version.pipeline_id,
        "version_id": version.version_id,
        "pipeline_root": read_compiled(file)["defaultPipelineRoot"],
        "service_account": config.service_account,
    }
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    there = recurring_runs(client, place.experiment_id, version.pipeline)
    # The server does not tell the mode that it was given, but the status that came of it.
    if len(there) == 1 and there[0].description == f"sha256:{digest}" and there[0].status != DISABLED:
        return Scheduled(there[0].recurring_run_id, version, new=False, replaced=0)
    _delete(client, place.experiment_id, there, stop_runs=stop_runs)
    made = client.create_recurring_run(
        experiment_id=place.experiment_id, description=f"sha256:{digest}", enabled=True, **wanted
    )
    return Scheduled(made.recurring_run_id, version, new=True, replaced=len(there))


def unschedule(client: Any, pipeline: str, *, config: KubeflowConfig, stop_runs: bool = False) -> int:
    """Deletes the schedule of a pipeline; its versions and finished runs stay.

    Returns:
        How many there were.

    Raises:
        UserError: a run is going on.
    """
    experiment_id = find_experiment(client, config.experiment or pipeline, config.namespace)
    if experiment_id is None:
        return 0
    there = recurring_runs(client, experiment_id, pipeline)
    _delete(client, experiment_id, there, stop_runs=stop_runs)
    return len(there)


def find_experiment(client: Any, name: str, namespace: str | None) -> str | None:
    """The id of an experiment, where there is one."""
    found = every(client.list_experiments, "experiments", namespace=namespace, filter=named(name))
    return next((item.experiment_id for item in found if item.display_name == name), None)


def recurring_runs(client: Any, experiment_id: str, name: str) -> list[Any]:
    """Those of an experiment with a name, which the server does not keep unique."""
    found = every(client.list_recurring_runs, "recurring_runs", experiment_id=experiment_id)
    return [run for run in found if run.display_name == name]


def _delete(client: Any, experiment_id: str, doomed: Sequence[Any], *, stop_runs: bool) -> None:
    ids = {run.recurring_run_id for run in doomed}
    if ids and not stop_runs:
        for run in every(client.list_runs, "runs", experiment_id=experiment_id, sort_by="created_at desc"):
            if run.recurring_run_id in ids and run.state not in ENDED:
                raise UserError(
                    f"{run.display_name} ({run.run_id}) is going on, and Kubeflow ends the runs of a "
                    "schedule with it; wait for it (knet kubeflow status), or end it with --stop-runs"
                )
    for run in doomed:
        client.delete_recurring_run(run.recurring_run_id)
