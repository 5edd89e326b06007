"""`knet serve`."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knet.base import schema_names
from knet.base.errors import UserError

if TYPE_CHECKING:
    from knet.serving.dev_server.metrics import Observer


_TOKEN = "KNET_TOKEN"
_LOG_KEY = "KNET_LOG_KEY"
_PATH = click.Path(path_type=Path)


@click.command("serve")
@click.argument("models", type=_PATH, default=Path(f"runs/demo/serving/{schema_names.MODEL_NAME}"))
@click.option("--engine", type=click.Choice(["dev", "tf-serving"]), default="dev", show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8500, show_default=True, help="Of gRPC.")
@click.option("--rest-port", default=8501, show_default=True, help="Of REST, metrics and the web page.")
@click.option("--config", "folder", type=_PATH, help="Of batching and monitoring; else the bundled one.")
@click.option("--tls-cert", "certificate", type=_PATH, help="The server's, in PEM.")
@click.option("--tls-key", "key", type=_PATH)
@click.option("--client-ca", "authority", type=_PATH, help="Clients must show a certificate of it.")
@click.option("--require-token", is_flag=True, help=f"Every request must bring the token in {_TOKEN}.")
@click.option("--max-message-mb", default=64, show_default=True, help="Of a request.")
@click.option("--request-log", "log_folder", type=_PATH, help="Note each answer there, for knet monitor.")
@click.option("--log-key-file", "log_key", type=_PATH, help=f"For patients' names; else {_LOG_KEY} has it.")
@click.option("--keep-images", type=_PATH, help="Store the images that are asked about in this folder.")
@click.option("--image", help="Of TF Serving, where its program is not on the PATH.")
def command(
    models: Path,
    engine: str,
    host: str,
    port: int,
    rest_port: int,
    folder: Path | None,
    certificate: Path | None,
    key: Path | None,
    authority: Path | None,
    require_token: bool,
    max_message_mb: int,
    log_folder: Path | None,
    log_key: Path | None,
    keep_images: Path | None,
    image: str | None,
) -> None:
    """Serve the versions in the folder MODELS over gRPC and REST.

    The engine dev is a development server, not TF Serving.
    """
    from knet.serving.models_config import read_batching, read_metrics_path, write_models_config

    if (certificate is None) != (key is None) or (authority and not key):
        raise UserError("--tls-cert and --tls-key go together, and --client-ca with them")
    token = os.environ.get(_TOKEN) if require_token else None
    if require_token and not token:
        raise UserError(f"--require-token needs the token in the environment variable {_TOKEN}")
    if token and engine == "tf-serving":
        raise UserError("TF Serving knows no tokens: use --engine dev, or a proxy before it")
    if (log_key or keep_images) and not log_folder:
        raise UserError("--log-key-file and --keep-images go with --request-log")
    if log_folder and engine == "tf-serving":
        raise UserError(
            "TF Serving keeps no such log: let what asks it use knet.serving.monitoring.request_log"
        )
    if not models.is_dir():
        raise UserError(f"{models} is not a folder: give the one that the pipeline pushes models to")
    folder = (folder or Path(str(resources.files("knet.serving.config")))).resolve()
    batching, monitoring = folder / "batching_parameters.txt", folder / "monitoring.config"
    parameters, metrics_path = read_batching(batching), read_metrics_path(monitoring)
    models_config = write_models_config(models.resolve())
    if engine == "tf-serving":
        from knet.serving.tf_serving import IMAGE, run_until_stopped, tf_serving_command, written_ssl_config

        with ExitStack() as stack:
            ssl = (
                certificate
                and key
                and written_ssl_config(certificate=certificate, key=key, client_authority=authority)
            )
            arguments = tf_serving_command(
                models_config=models_config,
                batching=batching,
                monitoring=monitoring,
                ssl_config=stack.enter_context(ssl) if ssl else None,
                host=host,
                port=port,
                rest_port=rest_port,
                image=image or IMAGE,
            )
            sys.exit(run_until_stopped(arguments))

    from knet.serving.dev_server.security import Tls
    from knet.serving.dev_server.server import DevServer, Options, serve_until_stopped

    options = Options(
        models_config=models_config,
        batching=parameters,
        metrics_path=metrics_path,
        max_message_bytes=max_message_mb * 2**20,
        tls=Tls(certificate, key, authority) if certificate and key else None,
        token=token,
        observers=[_log_observer(log_folder, log_key, keep_images)] if log_folder else [],
    )
    server = DevServer(models, host=host, port=port, rest_port=rest_port, options=options)
    web = f"{'https' if options.tls else 'http'}://{server.rest_address}"
    click.echo(f"development server, not TF Serving: {schema_names.MODEL_NAME} version {server.version}")
    click.echo(f"gRPC on {server.address}, REST and web page on {web}/, metrics on {web}{metrics_path or ''}")
    click.echo("stop it with Ctrl-C or SIGTERM")
    serve_until_stopped(server)
    click.echo("stopped")


def _log_observer(folder: Path, key_file: Path | None, keep_images: Path | None) -> Observer:
    from knet.serving.monitoring.request_log import LogObserver, RequestLog, read_key

    key = read_key(key_file)
    named = "patients by keyed hashes" if key else f"patients are left out, for there is no key in {_LOG_KEY}"
    kept = f"; the images are kept in {keep_images}" if keep_images else ""
    log = RequestLog(folder, key=key, keep_images=keep_images)
    click.echo(f"request log in {folder}: {named}{kept}")
    return LogObserver(log)
