"""Picks the source for a path."""

from __future__ import annotations

import os
from pathlib import Path

from components.breakhis_example_gen.sources.folder import Folder
from components.breakhis_example_gen.sources.object_folder import ObjectFolder
from components.breakhis_example_gen.sources.source import Source
from components.breakhis_example_gen.sources.tar_archive import TarArchive
from components.breakhis_example_gen.sources.tar_gz_archive import TarGzArchive
from components.breakhis_example_gen.sources.zip_archive import ZipArchive
from pipeline.errors import UserError
from pipeline.store.object_uri import object_uri

_ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


def open_source(path: Path) -> Source:
    """The folder or archive at a path, or the folder at a URI of an object store; nothing is read yet.

    Raises:
        UserError: there is none, or it is of another kind.
    """
    if object_uri(path):
        if path.name.lower().endswith(_ARCHIVES):
            raise UserError(
                f"{object_uri(path)}: an archive must be on a disk; unpack it in the object store"
            )
        return ObjectFolder(path)
    # Not Path.is_dir, which fails below a folder that may not be read.
    if os.path.isdir(path):  # noqa: PTH112
        return Folder(path.resolve())
    if not os.path.isfile(path):  # noqa: PTH113
        raise UserError(f"no such data folder or archive: {path}")
    name = path.name.lower()
    if name.endswith((".tar.gz", ".tgz")):
        return TarGzArchive(path.resolve())
    if name.endswith(".tar"):
        return TarArchive(path.resolve())
    if name.endswith(".zip"):
        return ZipArchive(path.resolve())
    raise UserError(f"{path}: expected a folder, a .zip, .tar, .tar.gz or .tgz archive, or a .csv manifest")
