"""`knet serve`."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline import features


@click.command("serve")
@click.argument(
    "models", type=click.Path(path_type=Path), default=Path(f"runs/demo/serving/{features.MODEL_NAME}")
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8500, show_default=True)
def command(models: Path, host: str, port: int) -> None:
    """Serve the newest version in the folder MODELS over gRPC (a development server, not TF Serving)."""
    from serving.dev_server import DevServer

    with DevServer(models, host=host, port=port) as server:
        click.echo(f"development server: {features.MODEL_NAME} version {server.version} on {server.address}")
        click.echo("stop it with Ctrl-C")
        try:
            server.wait()
        except KeyboardInterrupt:
            click.echo("stopped")
