"""`knet compare`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands._console import console
from pipeline.commands._options import configured, load


@click.command("compare")
@click.argument("first")
@click.argument("second")
@configured
def command(first: str, second: str, preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Show two runs side by side.

    Shown are settings that differ, data, and the winners' metrics.
    FIRST and SECOND are run ids, `last`, or folders of runs.
    """
    from pipeline.report.compare_runs import compare_runs
    from pipeline.report.find_run import find_run
    from pipeline.report.inputs import read_inputs
    from pipeline.workspace import Workspace

    workspace = Workspace(load(preset, file, overrides).output)
    inputs = [read_inputs(*find_run(name, workspace)) for name in (first, second)]
    for table in compare_runs(*inputs):
        console().print(table)
