"""`knet schema`: infer, diff and update."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knet.base.errors import UserError
from pipeline.commands.options import config_options, load, with_source

if TYPE_CHECKING:
    from knet.runs.registry import StoredStatistics
    from knet.runs.workspace import Workspace


@click.group("schema")
def command() -> None:
    """Compare the schema with data, and propose changes to it."""


def _of_data(function: click.decorators.FC) -> click.decorators.FC:
    """The options by which a schema command finds its data."""
    for option in (
        click.option("-v", "--verbose", is_flag=True, help="Show what TensorFlow and Beam have to say."),
        click.option(
            "--data", type=click.Path(path_type=Path), help="Images. Default: those of the last run."
        ),
    ):
        function = option(function)
    return config_options(function)


def _written(function: click.decorators.FC) -> click.decorators.FC:
    """The options of a schema command that writes a file."""
    for option in (
        click.option("--force", is_flag=True, help="Replace the file where there is one."),
        click.option("--output", type=click.Path(path_type=Path), required=True, help="The file to write."),
    ):
        function = option(function)
    return function


@command.command("infer")
@_of_data
@_written
def schema_infer(output: Path, force: bool, **where: Any) -> None:
    """Write a schema that knows the data alone."""
    with _statistics(where, output=output, force=force) as (_, statistics):
        from knet.data.schema_edits import infer, render

        text = render(infer(statistics))
    _write(output, text)


@command.command("diff")
@_of_data
def schema_diff(**where: Any) -> None:
    """Show what the schema would have to allow.

    That is, for the data to pass. Exit code 1 says that it is anything.
    """
    with _statistics(where) as (file, statistics):
        from knet.data.schema_edits import differences, read_schema, relax

        curated = read_schema(file)
        lines = differences(curated, relax(curated, statistics))
    click.echo("\n".join(lines) if lines else f"{file.name} allows all of the data")
    sys.exit(1 if lines else 0)


@command.command("update")
@_of_data
@_written
def schema_update(output: Path, force: bool, **where: Any) -> None:
    """Write the schema, loosened as far as the data need.

    Its comments stay where they can.
    """
    with _statistics(where, output=output, force=force) as (file, statistics):
        from knet.data.schema_edits import read_schema, relax, rewrite

        text = rewrite(file.read_text(encoding="utf-8"), relax(read_schema(file), statistics))
    _write(output, text)


@contextmanager
def _statistics(
    where: dict[str, Any], *, output: Path | None = None, force: bool = False
) -> Iterator[tuple[Path, list[Any]]]:
    """The schema's file, and the statistics of each split of the data; the libraries are kept quiet."""
    from knet.runs.workspace import Workspace
    from pipeline.runners.console import quiet_console

    config = load(where["preset"], where["file"], where["overrides"])
    if output and output.exists() and not force:
        raise UserError(f"--output {output}: there is such a file; --force replaces it")
    workspace = Workspace(config.output.resolve())
    kept = None if where["data"] else _kept_statistics(workspace)
    with quiet_console(workspace.log, verbose=where["verbose"]) as console:
        if kept:
            folder, file = kept.folder, config.data.schema_file or kept.schema
        else:
            from pipeline.preflight import prepare_data, schema_file

            config = with_source(config, where["data"])
            # No node is run that would need as many patients as the search.
            checked = prepare_data(config.model_copy(update={"tuning": None}))
            file = schema_file(config, checked, workspace)
            console.print("starting TensorFlow and TFX")
            from pipeline.runners.local import run_down_to

            executions = run_down_to(["StatisticsGen"], config, checked, schema=file, console=console)
            folder = executions["StatisticsGen"].outputs["statistics"].uri
        from knet.data.validation import read_statistics

        yield file, list(read_statistics(folder).values())


def _kept_statistics(workspace: Workspace) -> StoredStatistics:
    from knet.runs.registry import RunRegistry

    kept = RunRegistry(workspace.registry).previous_statistics()
    if kept is None:
        raise UserError(f"no run has succeeded in {workspace.root} yet: give --data, or run first")
    return kept


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"written: {path}; use it with --set data.schema_file={path}")
