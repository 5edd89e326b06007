"""Copies files and folders between this machine and an object store."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.object_store import ObjectStore


def fetch(uri: str, path: Path) -> bool:
    """Downloads an object, or all below a folder of objects; says whether there was any.

    Args:
        uri: of the object or folder.
        path: of the file, or the folder, to write.

    Raises:
        UserError: the object store cannot be read.
    """
    parent, _, last = uri.rpartition("/")
    store = ObjectStore(parent)
    content = store.read(last)
    if content is not None:
        _write(path, content)
        return True
    names = store.names(f"{last}/")
    for name in names:
        _write(path / name.removeprefix(f"{last}/"), store.read(name) or b"")
    return bool(names)


def send(path: Path, uri: str) -> None:
    """Uploads a file, or all files of a folder; nothing where there is nothing.

    Raises:
        UserError: the object store cannot be written to.
    """
    parent, _, last = uri.rpartition("/")
    store = ObjectStore(parent)
    if path.is_file():
        store.write(last, path.read_bytes())
    for file in (found for found in path.rglob("*") if found.is_file()):
        store.write(f"{last}/{file.relative_to(path).as_posix()}", file.read_bytes())


def checksum(uri: str) -> str:
    """What the store says of an object's content: another one has another; S3 calls it ETag."""
    parent, _, last = uri.rpartition("/")
    return ObjectStore(parent).checksum(last)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
