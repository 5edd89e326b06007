"""`knet compile`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands._options import configured, load
from pipeline.errors import UserError


@click.command("compile")
@configured
@click.option("--output", type=click.Path(path_type=Path), default=Path("pipeline.yaml"), show_default=True)
@click.option("-v", "--verbose", is_flag=True, help="Show what TFX has to say.")
def command(preset: str, file: Path | None, overrides: tuple[str, ...], output: Path, verbose: bool) -> None:
    """Compile the graph for Kubeflow Pipelines."""
    from pipeline.runners.screen import quiet_console
    from pipeline.workspace import Workspace

    config = load(preset, file, overrides)
    if output.suffix != ".yaml":
        raise UserError(f"--output {output}: Kubeflow takes a file that ends in .yaml")
    with quiet_console(Workspace(config.output).log, verbose=verbose):
        from pipeline.preflight import check_split_file, check_weights

        check_weights(config)
        check_split_file(config)
        from pipeline.runners.kubeflow import compile_pipeline

        compile_pipeline(config, output.absolute())
    click.echo(f"compiled: {output}")
    if config.data_gate.drift:
        click.echo(
            "note: data_gate.drift has no effect there yet: nothing is remembered between runs", err=True
        )
