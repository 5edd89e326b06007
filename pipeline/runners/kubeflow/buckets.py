"""Where a simulated cluster keeps artifacts: folders in the place of buckets, or a real object store."""

from __future__ import annotations

import shutil
from pathlib import Path

from pipeline.store.object_uri import object_uri
from pipeline.store.transfer import fetch, send


class Buckets:
    """Uploads and downloads as Kubeflow's launcher does."""

    def __init__(self, folder: Path, *, real: bool = False) -> None:
        """Names the place.

        Args:
            folder: below which a bucket is `<scheme>/<name>`.
            real: artifacts with `s3://` or `gs://` URIs go to the server of the environment instead.
        """
        self._folder = folder
        self._real = real

    def download(self, uri: str, path: Path) -> None:
        """Copies an artifact, a file or folder, to a path; nothing where there is none."""
        if self._real and object_uri(uri):
            fetch(uri, path)
        else:
            _copy(self._stored(uri), path)

    def upload(self, path: Path, uri: str) -> None:
        """The inverse."""
        if self._real and object_uri(uri):
            send(path, uri)
        else:
            _copy(path, self._stored(uri))

    def _stored(self, uri: str) -> Path:
        scheme, _, path = uri.partition("://")
        return self._folder / scheme / path


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        shutil.copy2(source, target)
