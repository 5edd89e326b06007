"""The command line: finds the commands in `pipeline.commands`, and words what goes wrong."""

from __future__ import annotations

import os
import pkgutil
import sys
from importlib import import_module

import click

from pipeline import commands
from pipeline.errors import UserError


def main() -> None:
    """Runs a command; a user's mistake ends with one message and exit code 2."""
    os.environ["TF_USE_LEGACY_KERAS"] = "0"  # Keras 3, in this process and its children
    try:
        cli()
    except UserError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("pipeline", "components", "schemas", "serving"):
            raise
        click.echo(
            f"error: this command needs {error.name}: install the pipeline extra, "
            "pip install 'breakhis-knet[pipeline]'",
            err=True,
        )
        sys.exit(2)


class _Commands(click.Group):
    """Every module of `pipeline.commands` is a command; one is imported when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = [module.name for module in pkgutil.iter_modules(commands.__path__)]
        return sorted(name.replace("_", "-") for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="breakhis-knet")
def cli() -> None:
    """Train, judge, push and ask breast histopathology models."""
