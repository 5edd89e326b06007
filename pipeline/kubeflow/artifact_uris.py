"""Paths of artifacts inside a container: the launcher's local copies, or a volume shared with other pods.

Kubeflow's launcher downloads the inputs of a node into its pod and uploads its outputs from there. No other
pod can read these files. Where the variable `KNET_SHARED_DIR` names a folder on a volume that the workers of
Beam, or those of a search, mount at the same path, the executor works on copies there.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from knet.base.errors import UserError
from knet.base.files import atomic_write, remove_path

# Environment variables of a container.
ROOT_VARIABLE: Final = "KNET_LAUNCHER_ROOT"  # the folder that replaces `/` in a simulated pod
SHARED_DIR_VARIABLE: Final = "KNET_SHARED_DIR"  # the shared volume's folder
_OLD_SHARED_DIR_VARIABLE: Final = "KNET_EXCHANGE"

LAUNCHER_ROOT: Final = os.environ.get(ROOT_VARIABLE, "")
# Local folder of each object store. The launcher names them by the scheme of the URI.
MOUNTS: Final = {
    scheme: f"{os.environ.get(SHARED_DIR_VARIABLE) or LAUNCHER_ROOT}/{folder}/"
    for scheme, folder in {"minio://": "minio", "s3://": "s3", "gs://": "gcs"}.items()
}


def check_environment() -> None:
    """Refuse a container whose variables have names of an earlier version.

    Raises:
        UserError: `KNET_EXCHANGE` is set.
    """
    if _OLD_SHARED_DIR_VARIABLE in os.environ:
        raise UserError(
            f"{_OLD_SHARED_DIR_VARIABLE} is set, which is called {SHARED_DIR_VARIABLE} now: compile the "
            "pipeline again with knet kubeflow compile"
        )


def local_path(uri: str) -> str:
    """Return the path in the container of an artifact in an object store, and any other text unchanged.

    Example:
        local_path("minio://mlpipeline/knet/model") == "/minio/mlpipeline/knet/model"
    """
    for scheme, mount in MOUNTS.items():
        if uri.startswith(scheme):
            return mount + uri.removeprefix(scheme)
    return uri


def remote_uri(path: str) -> str:
    """Return the object store URI of a path in the container, and any other text unchanged.

    The launcher uploads an output only if its URI is that of an object store.
    """
    for scheme, mount in MOUNTS.items():
        if path.startswith(mount):
            return scheme + path.removeprefix(mount)
    return path


def launcher_path(uri: str) -> Path:
    """Return the path of the launcher's copy of an artifact, whether or not a shared volume is in use."""
    path = Path(local_path(uri))
    shared_dir = os.environ.get(SHARED_DIR_VARIABLE)
    return _launcher_copy(path, shared_dir) if shared_dir else path


@contextmanager
def shared_volume(message: Mapping[str, Any]) -> Iterator[None]:
    """Copy a node's inputs to the shared volume first, and its outputs to the launcher's folders at the end.

    Outputs are copied only if no exception is raised. Without `KNET_SHARED_DIR` nothing is copied.

    Args:
        message: an ExecutorInput with local paths, as parsed JSON.
    """
    shared_dir = os.environ.get(SHARED_DIR_VARIABLE)
    if not shared_dir:
        yield
        return
    _log("inputs", [_copy(_launcher_copy(path, shared_dir), path) for path in _paths(message, "inputs")])
    for path in _paths(message, "outputs"):
        remove_path(path)  # of an attempt that was killed: its files would be among the outputs
        path.parent.mkdir(parents=True, exist_ok=True)
    yield
    _log("outputs", [_copy(path, _launcher_copy(path, shared_dir)) for path in _paths(message, "outputs")])


def _paths(message: Mapping[str, Any], side: str) -> Iterator[Path]:
    for held in message.get(side, {}).get("artifacts", {}).values():
        yield from (Path(artifact["uri"]) for artifact in held.get("artifacts", []))


def _launcher_copy(path: Path, shared_dir: str) -> Path:
    return Path(LAUNCHER_ROOT or "/") / path.relative_to(shared_dir)


def _log(side: str, artifacts: Sequence[tuple[int, int]]) -> None:
    """Log the bytes of a node's inputs or outputs, of each artifact as `_copy` returns them."""
    copied, present = (sum(counts) for counts in zip((0, 0), *artifacts, strict=True))
    message = "shared volume: %d bytes of %s copied, %d were there already"
    logging.getLogger(__name__).info(message, copied, side, present)


def _copy(source: Path, target: Path) -> tuple[int, int]:
    """Copy files that are missing or incomplete, each atomically: other nodes read and copy them too.

    So the first node that needs an artifact copies it, once a run.

    Returns:
        Bytes that were copied, and bytes that were there already.
    """
    copied = present = 0
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    for file in files:
        copy = target / file.relative_to(source)
        size = file.stat().st_size
        if copy.is_file() and copy.stat().st_size == size:
            present += size
            continue
        copied += size
        atomic_write(copy, partial(shutil.copyfile, file), mode=0o664)
    if source.is_dir():  # an empty folder is an artifact too
        target.mkdir(parents=True, exist_ok=True)
    return copied, present
