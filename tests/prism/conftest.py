"""Beam's Prism runner, built from Go modules, and pools of workers in processes of their own."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from free_ports import free_ports
from knet_process import make_knet

_MODULE = Path(__file__).resolve().parent
_PRISM = _MODULE.parents[1] / ".tools" / "prism"
_SECONDS_TO_START = 60


@pytest.fixture(scope="session")
def job_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of Prism's job server."""
    if shutil.which("go") is None:
        # One line; a skip would be one for each test.
        pytest.exit("skipped: no go on this machine (https://go.dev/dl, 1.26 or later)", returncode=0)
    package = "github.com/apache/beam/sdks/v2/go/cmd/prism"
    subprocess.run(["go", "build", "-o", str(_PRISM), package], cwd=_MODULE, check=True)
    (port,) = free_ports(1)
    command = [str(_PRISM), f"--job_port={port}", "--serve_http=false"]
    with _running(command, tmp_path_factory.mktemp("prism"), port=port, env=dict(os.environ)):
        yield f"localhost:{port}"


@pytest.fixture(scope="session")
def worker_pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Starts a pool of workers in another folder with a clean environment, and returns its address."""
    with contextlib.ExitStack() as stack:

        def start(**env: str) -> str:
            (port,) = free_ports(1)
            # Pools start workers by the name `python`.
            path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
            command = [
                *(sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"),
                f"--service_port={port}",
            ]
            folder = tmp_path_factory.mktemp("pool")
            stack.enter_context(
                _running(command, folder, port=port, env={"PATH": path, "HOME": str(folder), **env})
            )
            return f"localhost:{port}"

        yield start


@contextlib.contextmanager
def _running(command: list[str], folder: Path, *, port: int, env: dict[str, str]) -> Iterator[None]:
    """Run a server, whose output is in `log` of its working folder, until the context ends."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log)
    try:
        end = time.monotonic() + _SECONDS_TO_START
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port), timeout=1):
                break
            assert process.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()
