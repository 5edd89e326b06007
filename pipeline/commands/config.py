"""`knet config`: init, show, explain, schema."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import PRESETS, UserPath, config_options, load


@click.group("config")
def command() -> None:
    """Begin, show and explain configurations."""


@command.command("init")
@click.argument("file", type=UserPath(path_type=Path))
@click.option(
    "--preset", type=click.Choice(PRESETS), default="demo", show_default=True, help="Preset to extend."
)
def config_init(file: Path, preset: str) -> None:
    """Begin a configuration: write FILE, which extends a preset and has its fields as comments."""
    import shlex

    from knet.base.errors import UserError
    from knet.base.files import atomic_write
    from pipeline.config.load import initial_file

    if file.suffix not in (".yaml", ".yml"):
        raise UserError(f"{file}: a configuration ends in .yaml")
    if file.exists():
        raise UserError(f"{file} exists; name another file, or remove it")
    atomic_write(file, initial_file(preset, title=file.stem))
    click.echo(f"written: {file}; knet run --config {shlex.quote(str(file))}")


@command.command("show")
@config_options
@click.option(
    "--comments/--no-comments", default=True, show_default=True, help="Describe each field in a comment."
)
def config_show(preset: str, file: Path | None, overrides: tuple[str, ...], comments: bool) -> None:
    """Print a whole configuration as YAML, defaults and overrides included."""
    from pipeline.config.explain import dump_config

    click.echo(dump_config(load(preset, file, overrides), comments=comments), nl=False)


@command.command("explain")
@click.argument("field", required=False)
def config_explain(field: str | None) -> None:
    """Print type, default, range, unit and description of settings.

    FIELD is a dotted path, such as training.epochs, or a section, such as training. Default: all settings.
    """
    from pipeline.config.explain import explain

    click.echo(explain(field))


@command.command("schema")
def config_schema() -> None:
    """Print the JSON schema of configuration files, for editors and validators."""
    import json

    from pipeline.config.explain import json_schema

    click.echo(json.dumps(json_schema(), indent=2))
