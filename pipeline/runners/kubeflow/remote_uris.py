"""Where Kubeflow's launcher keeps the artifacts of an object store inside a container."""

from __future__ import annotations

import os
from typing import Final

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
