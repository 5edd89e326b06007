"""The `knet` command: finds subcommands in `pipeline.commands`, and prints errors in one line."""

from __future__ import annotations

import atexit
import gc
import signal
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from knet.base.environment import set_environment
from knet.base.errors import UserError
from knet.base.output import checked_output


def main() -> None:
    """Run a command; an error that the user can fix ends with one message and exit code 2."""
    set_environment()
    # Default: 700. Imports of TensorFlow and traces make millions of objects that stay: collect less often.
    gc.set_threshold(20_000)
    # Otherwise the interpreter collects TensorFlow's objects before it ends, which takes seconds after a run.
    atexit.register(gc.freeze)
    with checked_output():
        try:
            _run()
        except UserError as error:
            _exit(str(error))
        except OSError as error:
            from knet.base.disk import disk_full

            message = disk_full(error)
            if message is None:
                raise
            _exit(message)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] in ("pipeline", "components", "schemas", "knet"):
                raise
            _exit(
                f"this command needs {error.name}: run pip install '.[pipeline]' ./pipeline in a checkout of "
                "the repository"
            )


def _run() -> None:
    """Run the command, and write what is left of its output, whose failure is one of the command."""
    try:
        cli()
    finally:
        if sys.stdout is not None:
            sys.stdout.flush()


def _exit(message: str) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(2)


# By command: module in `pipeline.commands`, and function.
_COMMANDS = {
    "cache": ("runs", "cache_command"),
    "compare": ("runs", "compare_command"),
    "config": ("config", "command"),
    "data": ("data", "command"),
    "experiment": ("experiment", "command"),
    "kubeflow": ("kubeflow", "command"),
    "lineage": ("runs", "lineage_command"),
    "models": ("models", "command"),
    "monitor": ("monitor", "command"),
    "predict": ("predict", "command"),
    "report": ("runs", "report_command"),
    "run": ("run", "command"),
    "runs": ("runs", "command"),
    "sample-data": ("sample_data", "command"),
    "schema": ("schema", "command"),
    "serve": ("serve", "command"),
    "track": ("runs", "track_command"),
}


_INTERRUPTED = 128 + signal.SIGINT  # exit code, as shells have it


class _Commands(click.Group):
    """Command group that imports the module of a command on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, function = _COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(f"pipeline.commands.{module}"), function)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:  # click would say "Aborted!", and exit with 1
            click.echo("stopped", err=True)
            ctx.exit(_INTERRUPTED)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="breakhis-knet")
def cli() -> None:
    """Train, evaluate, deploy and query breast histopathology models."""
