"""Starts TF Serving itself, from its program or its container image."""

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

PROGRAM = "tensorflow_model_server"
IMAGE = "tensorflow/serving:2.19.1"
_CONTAINER_ENGINES = ("docker", "podman")
_POLL_SECONDS = 2  # between two looks at the model config


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
    """The command line that serves by TF Serving's configuration files.

    Where the program is not on the PATH it is the image's, with the folders of all files at the same places
    in the container.

    Args:
        models_config: in the folder of the versions.
        batching: batching parameters.
        monitoring: where the metrics are.
        ssl_config: key and certificates; none sends in the clear.
        host: on which a container's ports are open; the program itself listens on every interface.
        port: of gRPC.
        rest_port: of REST and metrics.
        image: that has the program.

    Raises:
        UserError: there is neither the program nor a container engine.
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
    if program := shutil.which(PROGRAM):
        return [program, *flags]
    engine = next(filter(None, map(shutil.which, _CONTAINER_ENGINES)), None)
    if engine is None:
        raise UserError(
            f"neither {PROGRAM} nor {' nor '.join(_CONTAINER_ENGINES)} is on the PATH: install TF Serving or "
            "a container engine, or use --engine dev"
        )
    files = [models_config, batching, monitoring, *([ssl_config] if ssl_config else [])]
    folders = sorted({str(file.parent) for file in files})
    return [
        *(engine, "run", "--rm", "--init", f"--entrypoint={PROGRAM}"),
        *(f"--publish={host}:{number}:{number}" for number in (port, rest_port)),
        *(f"--volume={folder}:{folder}:ro" for folder in folders),
        *(image, *flags),
    ]


@contextmanager
def written_ssl_config(*, certificate: Path, key: Path, client_authority: Path | None) -> Iterator[Path]:
    """TF Serving's file with a key and certificates in it, in a folder that only this user sees, for a while.

    Raises:
        UserError: a file cannot be read.
    """
    try:
        config = SSLConfig(
            server_key=key.read_text(encoding="ascii"),
            server_cert=certificate.read_text(encoding="ascii"),
            custom_ca=client_authority.read_text(encoding="ascii") if client_authority else "",
            client_verify=client_authority is not None,
        )
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the certificates: {error}") from None
    with tempfile.TemporaryDirectory(prefix="knet-ssl-") as folder:
        file = Path(folder) / "ssl.config"
        file.write_text(text_format.MessageToString(config), encoding="ascii")
        yield file


def run_until_stopped(command: Sequence[str]) -> int:
    """Runs a program, hands SIGTERM and SIGINT on to it, and returns its exit code."""
    process = subprocess.Popen(command)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _: process.send_signal(received))
    return process.wait()
