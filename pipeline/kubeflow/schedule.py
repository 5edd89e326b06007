"""Puts a compiled graph on a schedule of Kubeflow Pipelines, and takes it off."""

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
from pipeline.kubeflow.server import UploadedVersion, every, named, upload

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


UI_ENDPOINT = "KF_PIPELINES_UI_ENDPOINT"  # as kfp has it: where the web page is, if not at the host


@dataclass(frozen=True)
class ScheduleStatus:
    """A recurring run."""

    recurring_run_id: str
    cron: str | None
    enabled: bool
    version_id: str | None

    def __str__(self) -> str:
        return f"{self.cron} UTC{'' if self.enabled else ' (disabled)'}, version {self.version_id}"


@dataclass(frozen=True)
class RunStatus:
    """A run, started by hand or by the schedule."""

    run_id: str
    name: str
    state: str  # of V2beta1RuntimeState
    scheduled: bool
    started: datetime | None
    ended: datetime | None
    error: str | None
    link: str


@dataclass(frozen=True)
class PipelineStatus:
    """The schedule of a pipeline and its last runs, newest first."""

    pipeline: str
    schedules: tuple[ScheduleStatus, ...]
    runs: tuple[RunStatus, ...]

    @property
    def good(self) -> bool:
        """Whether the last run that ended did so well; true where none ended."""
        ended = (run.state for run in self.runs if run.state in ENDED)
        return next(ended, "SUCCEEDED") in {"SUCCEEDED", "SKIPPED"}


def status(client: Any, pipeline: str, *, config: KubeflowConfig, last: int) -> PipelineStatus:
    """Asks the server.

    Args:
        client: a kfp.Client.
        pipeline: its name.
        config: says where: host, namespace and experiment.
        last: how many runs.

    Raises:
        UserError: nothing was ever submitted there.
    """
    name = config.experiment or pipeline
    experiment_id = find_experiment(client, name, config.namespace)
    if experiment_id is None:
        raise UserError(
            f"there is no experiment {name}: nothing was submitted or scheduled there; kubeflow.experiment "
            "and kubeflow.namespace say where to look"
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
    web = (os.environ.get(UI_ENDPOINT) or config.host).rstrip("/")
    runs = every(client.list_runs, "runs", experiment_id=experiment_id, sort_by="created_at desc")
    return PipelineStatus(pipeline, schedules, tuple(_run(run, web) for run in itertools.islice(runs, last)))


def _run(run: Any, web: str) -> RunStatus:
    return RunStatus(
        run.run_id,
        run.display_name,
        run.state or "RUNTIME_STATE_UNSPECIFIED",
        run.recurring_run_id is not None,
        run.created_at,
        # The server gives the beginning of 1970 while there is none.
        run.finished_at if run.state in ENDED else None,
        run.error.message if run.error else None,
        f"{web}/#/runs/details/{run.run_id}",
    )


def status_table(status: PipelineStatus) -> Table:
    """A row a run, newest first."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for name in ("run", "started (UTC)", "state", "by", "time", "link"):
        table.add_column(name, overflow="fold")
    for run in status.runs:
        table.add_row(
            run.name,
            f"{run.started:%Y-%m-%d %H:%M}" if run.started else "",
            run.state.lower() + (f": {run.error}" if run.error else ""),
            "schedule" if run.scheduled else "hand",
            _time(run),
            run.link,
        )
    return table


def status_json(status: PipelineStatus) -> str:
    """All of it, and whether it is good."""
    return json.dumps({**dataclasses.asdict(status), "good": status.good}, default=_isoformat, indent=2)


def _time(run: RunStatus) -> str:
    return format_duration((run.ended - run.started).total_seconds()) if run.started and run.ended else ""


def _isoformat(value: object) -> str:
    return value.isoformat()  # type: ignore[attr-defined]
