"""Where Kubeflow's launcher keeps the artifacts of an object store inside a container.

Artifacts on a volume, for nodes whose work is done in other pods: Beam's workers, or those of a search.

Kubeflow's launcher keeps artifacts inside the pod of a node, into which no other can see. Where the
variable `KNET_EXCHANGE` names a folder that the others have too, under the same path, the executor works on
copies there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from knet.base.files import atomic_write

ROOT: Final = "KNET_LAUNCHER_ROOT"  # names the folder that stands for `/` where the graph is simulated
EXCHANGE: Final = "KNET_EXCHANGE"  # names a folder for copies that other pods see too: see exchange.py
LAUNCHER_ROOT: Final = os.environ.get(ROOT, "")
# The launcher downloads inputs to, and uploads outputs from, these folders.
MOUNTS: Final = {
    scheme: f"{os.environ.get(EXCHANGE) or LAUNCHER_ROOT}/{folder}/"
    for scheme, folder in {"minio://": "minio", "s3://": "s3", "gs://": "gcs"}.items()
}


def local_path(uri: str) -> str:
    """The path in the container of an artifact in an object store; anything else stays as it is.

    Example:
        local_path("minio://mlpipeline/knet/model") == "/minio/mlpipeline/knet/model"
    """
    for scheme, mount in MOUNTS.items():
        if uri.startswith(scheme):
            return mount + uri.removeprefix(scheme)
    return uri


def remote_uri(path: str) -> str:
    """The inverse of `local_path`.

    Without it the launcher takes an output for a local one and does not upload it.
    """
    for scheme, mount in MOUNTS.items():
        if path.startswith(mount):
            return scheme + path.removeprefix(mount)
    return path


@contextmanager
def shared_volume(message: Mapping[str, Any]) -> Iterator[None]:
    """Brings a node's inputs to the exchange before, and its outputs to the launcher after, if all went well.

    Args:
        message: an ExecutorInput with local paths, as JSON knows it.
    """
    exchange = os.environ.get(EXCHANGE)
    if not exchange:
        yield
        return
    for path in _paths(message, "inputs"):
        _copy(_of_the_launcher(path, exchange), path)
    for path in _paths(message, "outputs"):
        path.parent.mkdir(parents=True, exist_ok=True)
    yield
    for path in _paths(message, "outputs"):
        _copy(path, _of_the_launcher(path, exchange))


def _paths(message: Mapping[str, Any], side: str) -> Iterator[Path]:
    for held in message.get(side, {}).get("artifacts", {}).values():
        yield from (Path(artifact["uri"]) for artifact in held.get("artifacts", []))


def _of_the_launcher(path: Path, exchange: str) -> Path:
    return Path(LAUNCHER_ROOT or "/") / path.relative_to(exchange)


def _copy(source: Path, target: Path) -> None:
    """Copies what is not there yet, each file whole: other nodes read the same artifact, or copy it too."""
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    for file in files:
        copy = target / file.relative_to(source)
        if copy.is_file() and copy.stat().st_size == file.stat().st_size:
            continue
        atomic_write(copy, partial(shutil.copyfile, file), mode=0o664)
    if source.is_dir():  # though nothing be in it
        target.mkdir(parents=True, exist_ok=True)
