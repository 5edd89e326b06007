"""What a pipeline does on the cluster, as a table or as JSON."""

from __future__ import annotations

import dataclasses
import json

from rich import box
from rich.table import Table

from pipeline.report.formats import duration
from pipeline.runners.kubeflow.status import PipelineStatus, RunStatus


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
    return duration((run.ended - run.started).total_seconds()) if run.started and run.ended else ""


def _isoformat(value: object) -> str:
    return value.isoformat()  # type: ignore[attr-defined]
