"""Options that several commands share: the configuration, the served model, the console."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from knet.base import schema_names
from knet.base.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from knet.client import Client
    from knet.runs.workspace import Workspace
    from pipeline.config.config import Config


class UserPath(click.Path):
    """Path in which `~` is the user's home, also behind `--option=`, where shells leave it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        with contextlib.suppress(RuntimeError):  # no such user
            value = Path(value).expanduser()
        return super().convert(value, param, ctx)


PRESETS = ("demo", "paper", "production")  # repeated here, since pipeline.config would slow down --help

overrides_option = click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a setting."
)
kubeflow_option = click.option(
    "--kubeflow",
    is_flag=True,
    help="Use the folders of the section `kubeflow`, in a pod that mounts them.",
)
yes_option = click.option(
    "--yes", is_flag=True, help="Run although the gate must refuse every model, for too few test patients."
)
verbose_option = click.option("-v", "--verbose", is_flag=True, help="Show library logs.")


def _refuse_preset_beside_file(ctx: click.Context, param: click.Parameter, file: Path | None) -> Path | None:
    given = ctx.get_parameter_source("preset") is ParameterSource.COMMANDLINE
    if file is not None and given:
        raise click.UsageError(
            f"--preset beside --config {file}: give one of them; a file extends a preset with the line "
            f"extends: {ctx.params['preset']}",
            ctx,
        )
    return file


def config_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options --preset, --config and --set, whose values `load` accepts, to a command."""
    for option in (
        overrides_option,
        click.option(
            "--config",
            "file",
            type=UserPath(path_type=Path),
            callback=_refuse_preset_beside_file,
            help="Use a YAML file, or the folder of an overlay of k8s, instead of a preset.",
        ),
        click.option(
            "--preset",
            type=click.Choice(PRESETS),
            default="demo",
            show_default=True,
            is_eager=True,  # known when --config is checked
            help="Use a preset configuration.",
        ),
    ):
        function = option(function)
    return function


def remark_options(function: click.decorators.FC) -> click.decorators.FC:
    """Add the options --note and --tag, whose values the record of a run holds, to a command."""
    for option in (
        click.option(
            "--tag", "tags", multiple=True, metavar="WORD", help="Word to find the run by; repeatable."
        ),
        click.option("--note", default="", metavar="TEXT", help="Remark that lists and the report show."),
    ):
        function = option(function)
    return function


def load(preset: str, file: Path | None, overrides: Sequence[str]) -> Config:
    """Load the configuration that the options of `config_options` select.

    Raises:
        UserError: The file or an override is invalid.
    """
    from pipeline.config.load import load_config

    return load_config(file or preset, overrides)


def output_option(text: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Return the option --output with a help text."""
    return click.option("--output", type=UserPath(path_type=Path, exists=True, file_okay=False), help=text)


def output_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add --output and the options of `config_options` to a command, which gets a `workspace` for them.

    Without any of them it is that of the newest output below `runs`, which the command names.
    """

    @wraps(function)
    def command(output: Path | None, **given: Any) -> None:
        configuration = {name: given.pop(name) for name in ("preset", "file", "overrides")}
        function(workspace=_workspace(output, **configuration), **given)

    text = (
        "Output folder of the runs. Default: that of the configuration if one is given, else the newest "
        "below runs."
    )
    return output_option(text)(config_options(command))


_RUNS = Path("runs")


def _workspace(output: Path | None, *, preset: str, file: Path | None, overrides: Sequence[str]) -> Workspace:
    from knet.runs.workspace import Workspace

    if output is not None:
        return Workspace(output)
    context = click.get_current_context()
    is_preset = context.get_parameter_source("preset") is ParameterSource.COMMANDLINE
    if file or overrides or is_preset:
        return Workspace(load(preset, file, overrides).output)
    found = [
        (folder.stat().st_mtime, Workspace(folder.parent.parent)) for folder in _RUNS.glob("*/registry/runs")
    ]
    if not found:
        return Workspace(load(preset, file, overrides).output)
    newest = max(found, key=lambda pair: pair[0])[1]
    if len(found) > 1:
        click.echo(
            f"in {newest.root}, the newest of {len(found)} outputs below {_RUNS}; --output names another",
            err=True,
        )
    return newest


def with_source(config: Config, data: Path) -> Config:
    """Return a copy of a configuration with another `data.source`."""
    return config.model_copy(update={"data": config.data.model_copy(update={"source": data})})


def confirm_refusal(refusal: str | None, *, yes: bool, console: Console) -> None:
    """Stop a run whose every model the gate must refuse, unless the user wants it nevertheless.

    Args:
        refusal: Why the gate must refuse every model; None: it may pass one.
        yes: Whether `--yes` was given.
        console: Console to ask on, if it is a terminal as standard input is.

    Raises:
        UserError: The user does not want it, or cannot be asked.
    """
    if refusal is None:
        return
    if yes:
        console.print(f"note: {refusal}", soft_wrap=True)
        return
    if sys.stdin.isatty() and console.is_terminal:
        console.print(refusal, soft_wrap=True)
        with contextlib.suppress(EOFError):
            if console.input("train nevertheless? [y/N] ", markup=False).strip().lower() in ("y", "yes"):
                return
    raise UserError(f"{refusal}; --yes trains nevertheless")


_FILE = UserPath(path_type=Path, dir_okay=False)
_NAMES = (
    *("server", "model", "version", "label", "timeout", "batch"),
    *("tls", "tls_ca", "tls_cert", "tls_key", "token_file"),
)
_OPTIONS = (
    click.option(
        "--server", default="localhost:8500", show_default=True, metavar="HOST:PORT", help="Server."
    ),
    click.option(
        "--model", default=schema_names.MODEL_NAME, show_default=True, help="Name of the served model."
    ),
    click.option("--version", type=int, help="Version of the model. Default: the newest."),
    click.option("--label", help="Label of the version, such as stable, instead of its number."),
    click.option("--timeout", default=30.0, show_default=True, help="Seconds for each request."),
    click.option("--batch", default=8, show_default=True, help="Most images in a request."),
    click.option("--tls", is_flag=True, help="Use TLS; verify the server against the CAs that gRPC bundles."),
    click.option("--tls-ca", type=_FILE, help="Use TLS; CA bundle (PEM) used to verify the server."),
    click.option("--tls-cert", type=_FILE, help="Use TLS; client certificate (PEM)."),
    click.option("--tls-key", type=_FILE, help="Private key (PEM) of the client certificate."),
    click.option("--token-file", type=_FILE, help="File with the token to send. Default: $KNET_TOKEN."),
)


def client_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of a served model to a command, which gets an open `client` instead of their values."""

    @wraps(function)
    def command(**given: Any) -> None:
        with _client(**{name: given.pop(name) for name in _NAMES}) as client:
            function(client=client, **given)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def _client(
    *,
    server: str,
    model: str,
    version: int | None,
    label: str | None,
    timeout: float,
    batch: int,
    tls: bool,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    token_file: Path | None,
) -> Client:
    from knet.client import Client, Tls

    encrypted = tls or tls_ca or tls_cert or tls_key
    return Client(
        server,
        model=model,
        version=version,
        label=label,
        timeout=timeout,
        batch=batch,
        tls=Tls(tls_ca, tls_cert, tls_key) if encrypted else None,
        token=_read_token(token_file) if token_file else os.environ.get("KNET_TOKEN") or None,
    )


def _read_token(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", error)
        raise UserError(
            f"{file}: the token cannot be read ({reason}); give a text file with the token"
        ) from error


def console() -> Console:
    """Return a console for standard output, without colours and markup."""
    from rich.console import Console

    from pipeline.runners.console import fixed_width

    return Console(width=fixed_width(sys.stdout), markup=False, highlight=False)


def renamed_option(old: str, new: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """Return a hidden option that refuses an old name with a usage error naming the new one."""

    def refuse(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"{old} was renamed to {new}", ctx)

    return click.option(old, hidden=True, expose_value=False, callback=refuse)
