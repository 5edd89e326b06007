"""`knet schema`: infer, compare and update schemas."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knet.base import node_ids
from knet.base.errors import UserError
from pipeline.commands.options import UserPath, config_options, load, verbose_option, with_source

if TYPE_CHECKING:
    from knet.runs.registry import StoredStatistics
    from knet.runs.workspace import Workspace


@click.group("schema")
def command() -> None:
    """Compare the schema with data, and propose changes."""


def _data_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options that name the data of a schema command."""
    for option in (
        verbose_option,
        click.option(
            "--data",
            type=UserPath(path_type=Path),
            help="Images to read. Default: the statistics of the last successful run.",
        ),
    ):
        function = option(function)
    return config_options(function)


def _output_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options of a schema command that writes a file."""
    for option in (
        click.option("--force", is_flag=True, help="Replace an existing file."),
        click.option("--output", type=UserPath(path_type=Path), required=True, help="Schema file to write."),
    ):
        function = option(function)
    return function


@command.command("infer")
@_data_options
@_output_options
def schema_infer(output: Path, force: bool, **source: Any) -> None:
    """Infer a first schema from the data."""
    with _statistics(source, output=output, force=force) as (_, statistics):
        from knet.data.schema_edits import infer_schema, render_schema

        text = render_schema(infer_schema(statistics))
    _write(output, text)


@command.command("diff")
@_data_options
def schema_diff(**source: Any) -> None:
    """Show how the schema would have to change for the data to pass.

    Exits with 1 if it would.
    """
    with _statistics(source) as (file, statistics):
        from knet.data.schema_edits import read_schema, relax_schema, schema_differences

        curated = read_schema(file)
        lines = schema_differences(curated, relax_schema(curated, statistics))
    click.echo("\n".join(lines) if lines else f"{file.name} allows all of the data")
    sys.exit(1 if lines else 0)


@command.command("update")
@_data_options
@_output_options
def schema_update(output: Path, force: bool, **source: Any) -> None:
    """Write the schema, relaxed just enough for the data to pass.

    Comments are preserved, except inside changed entries.
    """
    with _statistics(source, output=output, force=force) as (file, statistics):
        from knet.data.schema_edits import read_schema, relax_schema, rewrite_schema

        text = rewrite_schema(file.read_text(encoding="utf-8"), relax_schema(read_schema(file), statistics))
    _write(output, text)


@contextmanager
def _statistics(
    source: dict[str, Any], *, output: Path | None = None, force: bool = False
) -> Iterator[tuple[Path, list[Any]]]:
    """Yield the schema file and the statistics of each split, with the libraries' logs silenced.

    Args:
        source: Values of the options that name the data.
        output: File that the command will write; it must not exist unless `force`.
        force: Whether to replace it.
    """
    from knet.runs.workspace import Workspace
    from pipeline.runners.console import quiet_console

    config = load(source["preset"], source["file"], source["overrides"])
    if output and output.exists() and not force:
        raise UserError(f"--output {output}: the file exists; --force replaces it")
    workspace = Workspace(config.output.resolve())
    stored = None if source["data"] else _stored_statistics(workspace)
    with quiet_console(workspace.log, verbose=source["verbose"]) as console:
        if stored:
            folder, file = stored.folder, config.data.schema_file or stored.schema
        else:
            from knet.runs.active_run import lock_output
            from pipeline.preflight import prepare_data, schema_file

            with lock_output(workspace, phase="knet schema"):
                config = with_source(config, source["data"])
                # The Tuner does not run, so the data need not have patients for its folds.
                checked = prepare_data(config.model_copy(update={"tuning": None}))
                file = schema_file(config, checked, workspace)
                console.print("starting TensorFlow and TFX")
                from pipeline.runners.local import run_down_to

                executions = run_down_to(
                    [node_ids.STATISTICS_GEN], config, checked, schema=file, console=console
                )
            folder = executions[node_ids.STATISTICS_GEN].outputs["statistics"].uri
        from knet.data.validation import read_statistics

        yield file, list(read_statistics(folder).values())


def _stored_statistics(workspace: Workspace) -> StoredStatistics:
    from knet.runs.registry import RunRegistry

    stored = RunRegistry(workspace.registry).previous_statistics()
    if stored is None:
        raise UserError(f"no run has succeeded in {workspace.root} yet: give --data, or run first")
    return stored


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"written: {path}; use it with --set data.schema_file={path}")
