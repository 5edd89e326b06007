"""Run TF Serving itself, from its binary or its container image."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from google.protobuf import text_format

from knet.base.errors import UserError
from knet.serving.models_config import SSLConfig

IMAGE = "tensorflow/serving:2.19.1"
_BINARY = "tensorflow_model_server"
_CONTAINER_ENGINES = ("docker", "podman")
_POLL_SECONDS = 2  # between two reads of models.config


def tf_serving_command(
    *,
    models_config: Path,
    batching: Path,
    monitoring: Path,
    ssl_config: Path | None = None,
    host: str,
    port: int,
    rest_port: int,
    image: str,
) -> list[str]:
    """The command line that runs TF Serving with its configuration files.

    Uses the binary on the PATH, else the image, with the folders of all files mounted at the same paths.

    Args:
        models_config: models.config in the served folder.
        batching: batching parameters file.
        monitoring: monitoring config file.
        ssl_config: SSL config file; None serves without encryption.
        host: host address to which a container's ports are published. The binary listens on every interface.
        port: gRPC port.
        rest_port: port of REST and metrics.
        image: container image with the binary.

    Raises:
        UserError: neither the binary nor a container engine is on the PATH.
    """
    flags = [
        f"--port={port}",
        f"--rest_api_port={rest_port}",
        f"--model_config_file={models_config}",
        f"--model_config_file_poll_wait_seconds={_POLL_SECONDS}",
        "--allow_version_labels_for_unavailable_models=true",
        "--enable_batching=true",
        f"--batching_parameters_file={batching}",
        f"--monitoring_config_file={monitoring}",
    ]
    if ssl_config:
        flags.append(f"--ssl_config_file={ssl_config}")
    if binary := shutil.which(_BINARY):
        return [binary, *flags]
    engine = next(filter(None, map(shutil.which, _CONTAINER_ENGINES)), None)
    if engine is None:
        raise UserError(
            f"neither {_BINARY} nor {' nor '.join(_CONTAINER_ENGINES)} is on the PATH: install TF Serving or "
            "a container engine, or use --engine dev"
        )
    files = [models_config, batching, monitoring, *([ssl_config] if ssl_config else [])]
    folders = sorted({str(file.parent) for file in files})
    return [
        *(engine, "run", "--rm", "--init", f"--entrypoint={_BINARY}"),
        *(f"--publish={host}:{number}:{number}" for number in (port, rest_port)),
        *(f"--volume={folder}:{folder}:ro" for folder in folders),
        *(image, *flags),
    ]


@contextmanager
def temporary_ssl_config(*, certificate: Path, key: Path, client_ca: Path | None) -> Iterator[Path]:
    """Write TF Serving's SSL config file to a folder that only this user can read, and delete it at the end.

    Args:
        certificate: the server's certificate (PEM).
        key: its private key (PEM).
        client_ca: CA bundle (PEM) that verifies clients; None asks for no client certificate.

    Raises:
        UserError: a file cannot be read.
    """
    try:
        config = SSLConfig(
            server_key=key.read_text(encoding="ascii"),
            server_cert=certificate.read_text(encoding="ascii"),
            custom_ca=client_ca.read_text(encoding="ascii") if client_ca else "",
            client_verify=client_ca is not None,
        )
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the certificates: {error}") from None
    with tempfile.TemporaryDirectory(prefix="knet-ssl-") as folder:
        file = Path(folder) / "ssl.config"
        file.write_text(text_format.MessageToString(config), encoding="ascii")
        yield file


def run_until_stopped(command: Sequence[str]) -> int:
    """Run a command, forward SIGTERM and SIGINT to it, and return its exit code."""
    process = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: process.send_signal(received))
    return process.wait()
