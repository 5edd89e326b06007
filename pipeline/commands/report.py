"""`knet report`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands._options import configured, load


@click.command("report")
@click.argument("run")
@configured
def command(run: str, preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Make the page of RUN anew: a run id, `last`, or the folder of a run.

    What the run left in its folder is enough: its artifacts may be gone.
    """
    from pipeline.report.find_run import find_run
    from pipeline.report.write_report import write_report
    from pipeline.workspace import Workspace

    record, folder = find_run(run, Workspace(load(preset, file, overrides).output))
    click.echo(f"report: {write_report(record, folder)}")
