"""The backend of Kubeflow Pipelines from a checkout of its repository, and `knet` as its client.

`KFP` names the checkout, at a tag. Its programs are built with Go if `bin/` lacks them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from fork_server import ForkServer
from kubeflow_backend.backend import BUCKET, S3, Backend, build_programs, running_backend
from kubeflow_backend.pods import Python, missing_permission
from mlflow_server import mlflow_server

_REPOSITORY = Path(__file__).resolve().parents[2]
_REMEDY = (
    "KFP names no checkout of Kubeflow Pipelines: git clone --depth 1 --branch 2.17.0 "
    "https://github.com/kubeflow/pipelines, then make test-kubeflow KFP=pipelines"
)


_CHECKOUT = Path(os.environ.get("KFP") or "none").absolute()


def pytest_report_header() -> str | None:
    """Return the version of Kubeflow Pipelines."""
    file = _CHECKOUT / "VERSION"
    return f"Kubeflow Pipelines: {file.read_text('utf-8').strip()}" if file.is_file() else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; one line says why they are skipped."""
    reason = _missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("kubeflow")
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


def _missing() -> str | None:
    """Return what the tests lack on this machine, and its remedy."""
    if not (_CHECKOUT / "backend" / "src" / "v2" / "cmd" / "driver").is_dir():
        return _REMEDY
    if shutil.which("go") is None:
        return "no go on this machine, which builds Kubeflow's programs: https://go.dev/dl"
    return missing_permission()


@pytest.fixture(scope="session")
def checkout() -> Path:
    """Checkout of kubeflow/pipelines, with built programs."""
    build_programs(_CHECKOUT)
    return _CHECKOUT


@pytest.fixture(scope="session")
def environment(guarded_environment: dict[str, str]) -> dict[str, str]:
    """Variables of all processes: connections to other machines are refused in those of Python."""
    return {**guarded_environment, "PYTHONPATH": str(_REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}


@pytest.fixture(scope="session")
def backend(
    checkout: Path,
    s3: str,
    fork_server: ForkServer,
    environment: dict[str, str],
    debian_program: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Backend]:
    """Running backend, which has no runs."""
    port = urlsplit(os.environ["AWS_ENDPOINT_URL"]).port
    assert port
    server = S3(port, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    with running_backend(
        checkout,
        folder=tmp_path_factory.mktemp("backend"),
        s3=server,
        python=Python(tmp_path_factory.mktemp("python"), fork_server),
        program=debian_program,
        environment=environment,
    ) as running:
        yield running


@pytest.fixture(scope="session")
def knet(
    backend: Backend,
    fork_server: ForkServer,
    environment: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., str]:
    """Function that runs a successful command against the backend, and returns its output."""
    folder = tmp_path_factory.mktemp("knet")

    def run(*arguments: object) -> str:
        command = [sys.executable, "-c", "from pipeline.commands.main import main; main()"]
        output = folder / "output"
        with output.open("wb") as stream:
            done = fork_server.run(
                [*command, *map(str, arguments)],
                env={**environment, "KF_PIPELINES_ENDPOINT": backend.url},
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=folder,
            )
        text = output.read_text("utf-8")
        assert done.returncode == 0, text
        return text

    return run
