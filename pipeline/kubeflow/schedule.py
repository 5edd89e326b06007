"""Schedules of Kubeflow Pipelines: creating, deleting and showing the recurring run of a pipeline."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from knet.base.errors import UserError
from knet.base.text import format_duration
from pipeline.config.kubeflow import KubeflowConfig
from pipeline.kubeflow.compiled import read_compiled
from pipeline.kubeflow.server import UploadedVersion, list_all, name_filter, upload

ENDED = {"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"}  # values of V2beta1RuntimeState
DISABLED = "DISABLED"  # value of V2beta1RecurringRunStatus


@dataclass(frozen=True)
class Scheduled:
    """Recurring run of a pipeline version.

    Attributes:
        recurring_run_id: id of the recurring run.
        version: scheduled version.
        new: whether this call created it; false if the same one existed.
        replaced: number of recurring runs of the same name that were deleted.
    """

    recurring_run_id: str
    version: UploadedVersion
    new: bool
    replaced: int


def schedule(
    client: Any, file: Path, *, config: KubeflowConfig, parameters: Mapping[str, Any], stop_runs: bool = False
) -> Scheduled:
    """Create the recurring run of a pipeline, replacing those of the same name.

    The server cannot change a recurring run, so it is deleted and another created. A command that dies in
    between leaves none; repeating it creates it. One with the same arguments is left as it is: the
    description holds a digest of them.

    Args:
        client: a kfp.Client.
        file: YAML written by `knet kubeflow compile`.
        config: with cron, namespace, experiment and service account.
        parameters: of every run, by name; others have their defaults.
        stop_runs: replace a recurring run while a run of it is active, which Kubeflow then ends.

    Raises:
        UserError: the file is no compiled pipeline, or a run is active.
    """
    version = upload(client, file, namespace=config.namespace)
    experiment = client.create_experiment(config.experiment or version.pipeline, namespace=config.namespace)
    arguments: dict[str, Any] = {
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
    digest = hashlib.sha256(json.dumps(arguments, sort_keys=True).encode()).hexdigest()
    existing = recurring_runs(client, experiment.experiment_id, version.pipeline)
    # The server returns no mode, but a status.
    active = [run for run in existing if run.status != DISABLED]
    if active == existing and [run.description for run in existing] == [f"sha256:{digest}"]:
        return Scheduled(existing[0].recurring_run_id, version, new=False, replaced=0)
    _delete(client, experiment.experiment_id, existing, stop_runs=stop_runs)
    created = client.create_recurring_run(
        experiment_id=experiment.experiment_id, description=f"sha256:{digest}", enabled=True, **arguments
    )
    return Scheduled(created.recurring_run_id, version, new=True, replaced=len(existing))


def unschedule(client: Any, pipeline: str, *, config: KubeflowConfig, stop_runs: bool = False) -> int:
    """Delete the recurring runs of a pipeline; its versions and finished runs stay.

    Args:
        client: a kfp.Client.
        pipeline: name of the pipeline.
        config: with namespace and experiment.
        stop_runs: delete a recurring run while a run of it is active, which Kubeflow then ends.

    Returns:
        The number of deleted recurring runs.

    Raises:
        UserError: a run is active.
    """
    experiment_id = find_experiment(client, config.experiment or pipeline, config.namespace)
    if experiment_id is None:
        return 0
    existing = recurring_runs(client, experiment_id, pipeline)
    _delete(client, experiment_id, existing, stop_runs=stop_runs)
    return len(existing)


def find_experiment(client: Any, name: str, namespace: str | None) -> str | None:
    """Return the id of an experiment, or None if there is none of that name."""
    found = list_all(client.list_experiments, "experiments", namespace=namespace, filter=name_filter(name))
    return next((item.experiment_id for item in found if item.display_name == name), None)


def recurring_runs(client: Any, experiment_id: str, name: str) -> list[Any]:
    """Return the recurring runs of an experiment with a name, which need not be unique."""
    found = list_all(client.list_recurring_runs, "recurring_runs", experiment_id=experiment_id)
    return [run for run in found if run.display_name == name]


def _delete(client: Any, experiment_id: str, to_delete: Sequence[Any], *, stop_runs: bool) -> None:
    ids = {run.recurring_run_id for run in to_delete}
    if ids and not stop_runs:
        for run in list_all(client.list_runs, "runs", experiment_id=experiment_id, sort_by="created_at desc"):
            if run.recurring_run_id in ids and run.state not in ENDED:
                raise UserError(
                    f"{run.display_name} ({run.run_id}) is active, and Kubeflow ends the runs of a schedule "
                    "that is deleted; wait for it (knet kubeflow status), or end it with --stop-runs"
                )
    for run in to_delete:
        client.delete_recurring_run(run.recurring_run_id)


# Environment variable, which kfp reads too: URL of the web page, if it is not that of the API.
UI_ENDPOINT_VARIABLE = "KF_PIPELINES_UI_ENDPOINT"


@dataclass(frozen=True)
class ScheduleStatus:
    """State of a recurring run."""

    recurring_run_id: str
    cron: str | None
    enabled: bool
    version_id: str | None

    def __str__(self) -> str:
        return f"{self.cron} UTC{'' if self.enabled else ' (disabled)'}, version {self.version_id}"


@dataclass(frozen=True)
class RunStatus:
    """State of a run.

    Attributes:
        run_id: id of the run.
        name: name of the run.
        state: a V2beta1RuntimeState.
        scheduled: whether a recurring run started it.
        started: time of creation.
        ended: time of the end; None while it is active.
        error: message of the server.
        link: URL of its web page.
    """

    run_id: str
    name: str
    state: str
    scheduled: bool
    started: datetime | None
    ended: datetime | None
    error: str | None
    link: str


@dataclass(frozen=True)
class PipelineStatus:
    """Schedule of a pipeline and its last runs, newest first."""

    pipeline: str
    schedules: tuple[ScheduleStatus, ...]
    runs: tuple[RunStatus, ...]

    @property
    def good(self) -> bool:
        """Whether the last run that ended succeeded; true if none ended."""
        ended = (run.state for run in self.runs if run.state in ENDED)
        return next(ended, "SUCCEEDED") in {"SUCCEEDED", "SKIPPED"}


def status(client: Any, pipeline: str, *, config: KubeflowConfig, last: int) -> PipelineStatus:
    """Read the schedule and the last runs of a pipeline from the server.

    Args:
        client: a kfp.Client.
        pipeline: name of the pipeline.
        config: with host, namespace and experiment.
        last: number of runs.

    Raises:
        UserError: there is no such experiment.
    """
    name = config.experiment or pipeline
    experiment_id = find_experiment(client, name, config.namespace)
    if experiment_id is None:
        raise UserError(
            f"there is no experiment {name}: nothing was submitted or scheduled in it; set "
            "kubeflow.experiment and kubeflow.namespace to those of the runs"
        )
    schedules = tuple(
        ScheduleStatus(
            run.recurring_run_id,
            run.trigger.cron_schedule.cron if run.trigger and run.trigger.cron_schedule else None,
            run.status != DISABLED,
            run.pipeline_version_reference and run.pipeline_version_reference.pipeline_version_id,
        )
        for run in recurring_runs(client, experiment_id, pipeline)
    )
    web = (os.environ.get(UI_ENDPOINT_VARIABLE) or config.host).rstrip("/")
    runs = list_all(client.list_runs, "runs", experiment_id=experiment_id, sort_by="created_at desc")
    return PipelineStatus(pipeline, schedules, tuple(_run(run, web) for run in itertools.islice(runs, last)))


def _run(run: Any, web: str) -> RunStatus:
    return RunStatus(
        run.run_id,
        run.display_name,
        run.state or "RUNTIME_STATE_UNSPECIFIED",
        run.recurring_run_id is not None,
        run.created_at,
        # While a run is active, the server returns 1970-01-01.
        run.finished_at if run.state in ENDED else None,
        run.error.message if run.error else None,
        f"{web}/#/runs/details/{run.run_id}",
    )


def status_table(status: PipelineStatus) -> Table:
    """Return a table with a row for each run, newest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("run", "started (UTC)", "state", "by", "time", "link"):
        table.add_column(name, overflow="fold")
    for run in status.runs:
        table.add_row(
            run.name,
            f"{run.started:%Y-%m-%d %H:%M}" if run.started else "",
            run.state.lower() + (f": {run.error}" if run.error else ""),
            "schedule" if run.scheduled else "hand",
            _duration(run),
            run.link,
        )
    return table


def status_json(status: PipelineStatus) -> str:
    """Return the status as a JSON object, with `good` beside its fields."""
    return json.dumps({**dataclasses.asdict(status), "good": status.good}, default=_isoformat, indent=2)


def _duration(run: RunStatus) -> str:
    return format_duration((run.ended - run.started).total_seconds()) if run.started and run.ended else ""


def _isoformat(value: object) -> str:
    return value.isoformat()  # type: ignore[attr-defined]
