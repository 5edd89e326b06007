"""`knet runs`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands._console import console
from pipeline.commands._options import configured, load


@click.command("runs")
@configured
def command(preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """List the runs of an output folder, newest first."""
    from pipeline.registry import RunRegistry
    from pipeline.report.runs_table import runs_table
    from pipeline.workspace import Workspace

    workspace = Workspace(load(preset, file, overrides).output)
    files = RunRegistry(workspace.registry).runs()
    if not files:
        click.echo(f"no run in {workspace.root} yet")
        return
    console().print(runs_table(list(files.values())))
