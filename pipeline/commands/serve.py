"""The command `knet serve`: serve pushed models with the development server or TF Serving."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from knet.base import schema_names
from knet.base.errors import UserError
from pipeline.commands.options import UserPath, verbose_option

if TYPE_CHECKING:
    from knet.serving.dev_server.observers import Observer


_TOKEN = "KNET_TOKEN"
_LOG_KEY = "KNET_LOG_KEY"
_PATH = UserPath(path_type=Path)


@click.command("serve")
@click.argument("models", type=_PATH, default=Path(f"runs/demo/serving/{schema_names.MODEL_NAME}"))
@click.option(
    "--engine",
    type=click.Choice(["dev", "tf-serving"]),
    default="dev",
    show_default=True,
    help="Run the development server, or TF Serving.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8500, show_default=True, help="Port for gRPC.")
@click.option("--rest-port", default=8501, show_default=True, help="Port for REST, metrics and the web page.")
@click.option(
    "--config",
    "folder",
    type=_PATH,
    help="Folder of batching_parameters.txt and monitoring.config. Default: the bundled files.",
)
@click.option("--tls-cert", "certificate", type=_PATH, help="Certificate of the server (PEM).")
@click.option("--tls-key", "key", type=_PATH, help="Private key of the server (PEM).")
@click.option("--client-ca", type=_PATH, help="CA bundle (PEM); require client certificates signed by it.")
@click.option("--require-token", is_flag=True, help=f"Require the bearer token in {_TOKEN} of every request.")
@click.option(
    "--reload-any-folder",
    is_flag=True,
    help="Let HandleReloadConfigRequest load models outside of MODELS, which can read your files.",
)
@click.option("--max-message-mb", default=64, show_default=True, help="Largest request, in MiB.")
@click.option("--request-log", "log_folder", type=_PATH, help="Log predictions there, for knet monitor.")
@click.option(
    "--log-key-file",
    "log_key",
    type=_PATH,
    help=f"File with the key that hashes patient names in the log. Default: ${_LOG_KEY}.",
)
@click.option("--keep-images", "image_folder", type=_PATH, help="Store the request images in this folder.")
@click.option(
    "--log",
    "library_log",
    type=_PATH,
    help="File for the messages of TensorFlow and gRPC. Default: serve.log beside MODELS.",
)
@verbose_option
@click.option("--image", help="TF Serving image, used if its binary is not on the PATH.")
def command(
    models: Path,
    engine: str,
    host: str,
    port: int,
    rest_port: int,
    folder: Path | None,
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    require_token: bool,
    reload_any_folder: bool,
    max_message_mb: int,
    log_folder: Path | None,
    log_key: Path | None,
    image_folder: Path | None,
    library_log: Path | None,
    verbose: bool,
    image: str | None,
) -> None:
    """Serve the versions in the folder MODELS over gRPC and REST.

    The engine dev is a development server, not TF Serving.
    """
    from knet.client.connection import is_local
    from knet.serving.dev_server.ports import listen
    from knet.serving.models_config import (
        config_folder,
        read_batching,
        read_metrics_path,
        write_models_config,
    )

    if (certificate is None) != (key is None) or (client_ca and not key):
        raise UserError("--tls-cert and --tls-key go together, and --client-ca needs both")
    token = os.environ.get(_TOKEN) if require_token else None
    if require_token and not token:
        raise UserError(f"--require-token needs the token in the environment variable {_TOKEN}")
    if token and engine == "tf-serving":
        raise UserError("--require-token: TF Serving has no tokens; use --engine dev, or a proxy before it")
    if (log_key or image_folder) and not log_folder:
        raise UserError("--log-key-file and --keep-images need --request-log")
    if log_folder and engine == "tf-serving":
        raise UserError(
            "--request-log: TF Serving has no such log; let its client write one with "
            "knet.serving.monitoring.request_log"
        )
    if not models.is_dir():
        raise UserError(f"{models} is not a folder: give the one that the pipeline pushes models to")
    if not (token or client_ca or is_local(host)):
        click.echo(
            f"warning: whoever reaches {host} can use the server: require tokens (--require-token with "
            "--tls-cert), client certificates (--client-ca), or listen on 127.0.0.1",
            err=True,
        )
    folder = (folder or config_folder()).resolve()
    batching, monitoring = folder / "batching_parameters.txt", folder / "monitoring.config"
    parameters, metrics_path = read_batching(batching), read_metrics_path(monitoring)
    for number in (port, rest_port) if engine == "dev" else ():
        listen(host, number).close()  # a port in use is found before TensorFlow is loaded
    models_config = write_models_config(models.resolve())
    if engine == "tf-serving":
        from knet.serving.tf_serving import (
            IMAGE,
            run_until_stopped,
            temporary_ssl_config,
            tf_serving_command,
        )

        with ExitStack() as stack:
            ssl_config = None
            if certificate and key:
                ssl_config = stack.enter_context(
                    temporary_ssl_config(certificate=certificate, key=key, client_ca=client_ca)
                )
            arguments = tf_serving_command(
                models_config=models_config,
                batching=batching,
                monitoring=monitoring,
                ssl_config=ssl_config,
                host=host,
                port=port,
                rest_port=rest_port,
                image=image or IMAGE,
            )
            sys.exit(run_until_stopped(arguments))

    from knet.serving.dev_server.security import Tls

    observers = [_log_observer(log_folder, log_key, image_folder)] if log_folder else []
    tls = Tls(certificate, key, client_ca) if certificate and key else None
    with _console(library_log or models.resolve().parent / "serve.log", verbose=verbose) as say:
        from knet.serving.dev_server.server import DevServer, Options, serve_until_stopped

        options = Options(
            models_config=models_config,
            batching=parameters,
            metrics_path=metrics_path,
            max_message_bytes=max_message_mb * 2**20,
            tls=tls,
            token=token,
            reload_any_folder=reload_any_folder,
            observers=observers,
        )
        server = DevServer(models, host=host, port=port, rest_port=rest_port, options=options)

        def show_addresses() -> None:
            web = f"{'https' if tls else 'http'}://{server.rest_address}"
            say(f"development server, not TF Serving: {schema_names.MODEL_NAME} version {server.version}")
            say(
                f"gRPC on {server.address}, REST and web page on {web}/, metrics on {web}{metrics_path or ''}"
            )
            say("ready; stop it with Ctrl-C or SIGTERM")

        serve_until_stopped(server, on_ready=show_addresses)
        say("stopped")


@contextmanager
def _console(log: Path, *, verbose: bool) -> Iterator[Callable[[str], None]]:
    """Redirect what libraries print to a log file, and yield a function that prints a line.

    What the server itself logs is printed too.

    Args:
        log: the file.
        verbose: whether to redirect nothing.
    """
    from pipeline.runners.console import output_in_log

    with ExitStack() as stack:
        output = sys.stdout
        if not verbose:
            click.echo(f"loading TensorFlow; its messages are in {log}")
            output, _ = stack.enter_context(output_in_log(log, remedy="name another file with --log"))
        handler = logging.StreamHandler(output)
        logger = logging.getLogger("knet.serving")
        logger.setLevel(logging.INFO)
        logger.addHandler(handler)
        stack.callback(logger.removeHandler, handler)
        yield lambda line: print(line, file=output, flush=True)


def _log_observer(folder: Path, key_file: Path | None, image_folder: Path | None) -> Observer:
    from knet.serving.monitoring.request_log import LogObserver, RequestLog, read_key

    key = read_key(key_file)
    patients = "patients as keyed hashes" if key else f"patients left out, because {_LOG_KEY} is not set"
    images = f"; images are stored in {image_folder}" if image_folder else ""
    log = RequestLog(folder, key=key, image_folder=image_folder)
    click.echo(f"request log in {folder}: {patients}{images}")
    return LogObserver(log)
