"""`knet config`: show."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands._options import configured, load


@click.group("config")
def command() -> None:
    """Look at configurations."""


@command.command("show")
@configured
def config_show(preset: str, file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print a configuration in full, defaults and overrides included."""
    from pipeline.config import dump_config

    click.echo(dump_config(load(preset, file, overrides)), nl=False)
