"""What a pipeline does on the cluster."""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pipeline.config import KubeflowConfig
from pipeline.errors import UserError
from pipeline.runners.kubeflow.schedule import DISABLED, ENDED, find_experiment, recurring_runs
from pipeline.runners.kubeflow.upload import every

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
