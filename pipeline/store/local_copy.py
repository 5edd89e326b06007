"""Brings what lies in an object store to where everything can read it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UserError
from pipeline.store.object_uri import object_uri
from pipeline.store.transfer import fetch


@contextmanager
def local_copy(location: Path | str) -> Iterator[Path]:
    """The path itself, or one of a copy, which is removed afterwards, of a file or folder in an object store.

    Raises:
        UserError: there is nothing in the object store, or it cannot be read.
    """
    uri = object_uri(location)
    if uri is None:
        yield Path(location)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / uri.rpartition("/")[2]
        if not fetch(uri, copy):
            raise UserError(f"{uri}: there is no such object, nor any below it")
        yield copy
