"""`knet config`: show, explain, schema."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.options import config_options, load


@click.group("config")
def command() -> None:
    """Show and explain configurations."""


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
