"""`knet lineage`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands._options import configured, load


@click.command("lineage")
@click.argument("version")
@configured
def command(version: str, preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print where the served VERSION came from, back to the data."""
    from pipeline.registry import RunRegistry
    from pipeline.report.find_version import find_version
    from pipeline.report.lineage_steps import lineage_steps
    from pipeline.workspace import Workspace

    workspace = Workspace(load(preset, file, overrides).output)
    record = find_version(version, RunRegistry(workspace.registry), where=workspace.root)
    for step in reversed(lineage_steps(record)):
        click.echo(f"{step.what:<30} {step.value}")
        if step.note:
            click.echo(f"{'':<30} {step.note}")
