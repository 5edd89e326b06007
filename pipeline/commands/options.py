"""The options by which commands find their configuration."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from knet.base import schema_names
from knet.base.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from knet.client import Client
    from pipeline.config.config import Config


PRESETS = ("demo", "paper", "production")  # of pipeline.config, which takes longer to import than --help may


def config_options(function: click.decorators.FC) -> click.decorators.FC:
    """The options by which every command finds its configuration."""
    for option in (
        click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a field."),
        click.option(
            "--config", "file", type=click.Path(path_type=Path), help="A YAML file instead of a preset."
        ),
        click.option("--preset", type=click.Choice(PRESETS), default="demo", show_default=True),
    ):
        function = option(function)
    return function


def load(preset: str, file: Path | None, overrides: Sequence[str]) -> Config:
    """The configuration that `configured` options name."""
    from pipeline.config.load import load_config

    return load_config(file or preset, overrides)


def with_source(config: Config, data: Path) -> Config:
    """The same, of other images."""
    return config.model_copy(update={"data": config.data.model_copy(update={"source": data})})


_FILE = click.Path(path_type=Path, dir_okay=False)
_NAMES = (
    *("server", "model", "version", "label", "timeout"),
    *("tls", "tls_ca", "tls_cert", "tls_key", "token_file"),
)
_OPTIONS = (
    click.option("--server", default="localhost:8500", show_default=True, metavar="HOST:PORT"),
    click.option(
        "--model", default=schema_names.MODEL_NAME, show_default=True, help="The name it is served by."
    ),
    click.option("--version", type=int, help="The version to ask, in place of the newest."),
    click.option("--label", help="The label of the version to ask, such as stable."),
    click.option("--timeout", default=30.0, show_default=True, help="Seconds for a request, of 8 images."),
    click.option("--tls", is_flag=True, help="Encrypt; a known authority vouches for the server."),
    click.option("--tls-ca", type=_FILE, help="Encrypt; PEM certificate of who vouches for the server."),
    click.option("--tls-cert", type=_FILE, help="Encrypt; PEM certificate of this client."),
    click.option("--tls-key", type=_FILE, help="The PEM key to it."),
    click.option("--token-file", type=_FILE, help="Holds the token to send. Default: $KNET_TOKEN."),
)


def client_options(function: Callable[..., None]) -> Callable[..., None]:
    """Adds the options, and gives the command an open `client` in their place."""

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
        tls=Tls(tls_ca, tls_cert, tls_key) if encrypted else None,
        token=_read_token(token_file) if token_file else os.environ.get("KNET_TOKEN") or None,
    )


def _read_token(file: Path) -> str:
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file} cannot be read as a token: {getattr(error, 'strerror', error)}") from error


_WIDTH = 160  # where nobody's terminal sets one


def console() -> Console:
    """Standard output, on which nothing is coloured or taken for markup."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else _WIDTH, markup=False, highlight=False)


def renamed_option(old: str, new: str) -> Callable[[click.decorators.FC], click.decorators.FC]:
    """A hidden option that refuses an old name with a usage error naming the new one."""

    def refuse(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"{old} was renamed to {new}", ctx)

    return click.option(old, hidden=True, expose_value=False, callback=refuse)
