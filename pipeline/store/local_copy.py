"""Brings what lies in an object store to where everything can read it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import UserError
from pipeline.store.object_store import ObjectStore
from pipeline.store.object_uri import object_uri


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
    parent, _, last = uri.rpartition("/")
    store = ObjectStore(parent)
    with tempfile.TemporaryDirectory() as folder:
        content = store.read(last)
        found = (
            {last: content} if content is not None else {n: store.read(n) for n in store.names(f"{last}/")}
        )
        if not found:
            raise UserError(f"{uri}: there is no such object, nor any below it")
        for name, part in found.items():
            path = Path(folder) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(part or b"")
        yield Path(folder) / last
