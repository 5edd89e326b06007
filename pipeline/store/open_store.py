"""Picks the store for a location."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.folder_store import FolderStore
from pipeline.store.object_store import ObjectStore
from pipeline.store.object_uri import object_uri
from pipeline.store.store import Store


def open_store(location: Path | str) -> Store:
    """The object store of a URI such as `s3://bucket/folder`, else the folder of that path."""
    uri = object_uri(location)
    return ObjectStore(uri) if uri else FolderStore(Path(location))
