"""Folders as sources: on disk and in an object store."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
from pathlib import Path

from knet.base.errors import UnusableError, UserError
from knet.base.image_files import MAX_BYTES, check_size
from knet.base.packed_list import sort_packed
from knet.base.storage import ObjectStore, object_uri
from knet.base.text import printable
from knet.data.source import RandomAccessSource, Reader


@dataclass(frozen=True)
class Folder(RandomAccessSource):
    """A folder on disk; links are followed if they stay within it."""

    location: Path  # absolute, without links
    prefix: str = ""

    @property
    def folder(self) -> Path:
        """Folder that names are relative to."""
        return self.location / self.prefix

    def listing(self) -> Iterator[tuple[str, int]]:
        """See Source; hidden files are not listed."""
        return _walk(self.folder, "", self.location, frozenset())

    def parts(self, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
        """See Source; a name that starts with a slash is relative to the location."""
        for name in names:
            yield name, self.location / name[1:] if name.startswith("/") else self.folder / name

    def below(self, prefix: str) -> Folder:
        """See Source."""
        return replace(self, prefix=self.prefix + prefix)

    def open(self) -> Reader:
        """See RandomAccessSource."""
        return _FolderReader(self.folder)

    def find(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        """See Source; does not list the folder."""
        checked = None  # folder of the last name
        for name in names:
            folder = name.rpartition("/")[0]
            if folder != checked:
                _check_inside(self.folder / folder, self.location)
                checked = folder
            path = self.folder / name
            if path.is_symlink():
                _check_inside(path, self.location)
            if path.is_file():
                yield name, path.stat().st_size


@dataclass(frozen=True)
class _FolderReader(Reader):
    root: Path

    def read(self, name: str) -> bytes:
        path = self.root / name
        try:
            if not path.is_file():
                raise UnusableError("not a file" if path.exists() else "a link that leads nowhere")
            check_size(path.stat().st_size)
            return path.read_bytes()
        except OSError as error:
            raise UnusableError(f"cannot be read ({error.strerror})") from None

    def close(self) -> None:
        """See Reader; nothing was opened."""


def _walk(folder: Path, prefix: str, root: Path, parents: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Yield name and bytes of each file, sorted by name.

    Args:
        folder: Folder to list.
        prefix: What the names begin with.
        root: Folder that links must not lead out of.
        parents: Real paths of the folders above.
    """
    real = os.path.realpath(folder)
    if real in parents:
        raise UserError(f"{folder} is a link to a folder that holds it; remove the link")
    try:
        entries = [entry for entry in os.scandir(folder) if not entry.name.startswith(".")]
    except OSError as error:
        raise UserError(
            f"cannot read the folder {error.filename}: {error.strerror}; correct its permissions"
        ) from None
    for entry in entries:
        if entry.is_symlink():
            _check_inside(Path(entry.path), root)
    # A folder is where the names of its files are, which begin with its own and a slash.
    for entry in sorted(entries, key=lambda entry: f"{entry.name}/" if entry.is_dir() else entry.name):
        if not entry.is_dir():
            yield prefix + entry.name, entry.stat().st_size if entry.is_file() else 0
        else:
            yield from _walk(Path(entry.path), f"{prefix}{entry.name}/", root, parents | {real})


def _check_inside(path: Path, root: Path) -> None:
    try:
        real = os.path.realpath(path, strict=True)
    except FileNotFoundError:
        real = os.path.realpath(path)
    except OSError:  # a loop of links
        real = ""
    inside = Path(real).is_relative_to(root)
    if not inside:
        raise UserError(
            f"{printable(str(path))} is a link that leads out of {root}; copy what it leads to, or remove it"
        )


@dataclass(frozen=True)
class ObjectFolder(RandomAccessSource):
    """A folder in an object store."""

    location: Path  # URI in the form that `object_uri` reads
    prefix: str = ""

    @property
    def store(self) -> ObjectStore:
        """Object store at the location; names are relative to it after the prefix."""
        uri = object_uri(self.location)
        assert uri is not None
        return ObjectStore(uri)

    def listing(self) -> Iterator[tuple[str, int]]:
        """See Source."""
        yield from ((name, size) for name, size, _ in self._objects())

    def checksums(self) -> Iterator[tuple[str, str]]:
        """See Source."""
        yield from ((name, checksum) for name, _, checksum in self._objects())

    def _objects(self) -> Iterable[tuple[str, int, str]]:
        """Return name, bytes and checksum of each object; stores need not list them in order."""
        listed = (
            (name.removeprefix(self.prefix), stat.size, stat.checksum)
            for name, stat in self.store.listing(self.prefix)
        )
        return sort_packed(listed, key=itemgetter(0))

    def parts(self, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
        """See Source; a name that starts with a slash is relative to the location."""
        for name in names:
            yield name, self.location / (name[1:] if name.startswith("/") else f"{self.prefix}{name}")

    def below(self, prefix: str) -> ObjectFolder:
        """See Source."""
        return replace(self, prefix=self.prefix + prefix)

    def open(self) -> Reader:
        """See RandomAccessSource."""
        return _ObjectReader(self.store, self.prefix)


@dataclass(frozen=True)
class _ObjectReader(Reader):
    store: ObjectStore
    prefix: str

    def read(self, name: str) -> bytes:
        try:
            content = self.store.read(self.prefix + name, at_most=MAX_BYTES + 1)
        except Exception as error:  # each server and library raises other types
            raise UnusableError(f"cannot be read ({error})") from None
        if content is None:
            raise UnusableError("no longer there")
        check_size(len(content))
        return content

    def close(self) -> None:
        """See Reader; nothing was opened."""
