"""Fingerprint of a data set: a digest that changes if and only if its content does."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from knet.base.digests import file_digest
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.storage import checksum, object_uri
from knet.base.text import printable
from knet.data.catalog import Catalog

_SETTLED: Final = 2.0  # seconds; a file modified later than that may change again under the same time stamp
_LISTED: Final = 10  # files of one message
_BLOCK: Final = 1024  # files that wait for a thread

_Entry = list[int | str]  # bytes, modification time in ns and SHA-256 of a file
L = TypeVar("L")
R = TypeVar("R")


def fingerprint(catalog: Catalog, *, cache: Path, progress: Callable[[str], object] = str) -> str:
    """Compute the SHA-256 of all names, sizes and contents, the manifest included.

    Objects in a store are not downloaded: the store's checksums represent their contents.

    Args:
        catalog: Catalog of the data set.
        cache: File of known digests; files of the same size and modification time are not read again.
        progress: Receives a line about every hundredth file.

    Returns:
        64 hexadecimal digits.
    """
    digest = _names_digest(catalog)
    settled = time.time_ns() - int(_SETTLED * 1e9)
    total = sum(1 for _ in _parts(catalog))

    def write(file: Path) -> None:
        with file.open("w", encoding="ascii") as stream:
            stream.write(f"{_header(catalog)}\n")
            done = 0
            for part in _read_parts(catalog, cache, ()):
                if part.entry is None:
                    continue
                digest.update(_line(part.name, str(part.entry[2])))
                if 0 < int(part.entry[1]) < settled:
                    stream.write(f"{json.dumps([part.name, part.entry])}\n")
                if done % 100 == 0:
                    progress(f"fingerprint: {done} of {total} files")
                done += 1

    atomic_write(cache, write)
    return digest.hexdigest()


def check_unchanged(
    catalog: Catalog, expected: str, *, digests: Iterable[tuple[str, str]], cache: Path | None
) -> None:
    """Check that a data set has the fingerprint that a run started with.

    Args:
        catalog: Catalog of the data set, as it was read.
        expected: Fingerprint at the start of the run.
        digests: Name and SHA-256, in hexadecimal, of the images that were read, sorted by name; they are not
            read again.
        cache: File of the digests at the start of the run, to name the files that changed. None: unknown.

    Raises:
        UserError: The data changed; the message names the files. The file of digests is removed.
    """
    digest = _names_digest(catalog)
    removed, changed, new = _Files("removed"), _Files("changed"), _Files("new")
    cached = False
    for part in _read_parts(catalog, cache, digests):
        cached |= part.known is not None
        if part.entry is None:
            removed.add(part.path)
            continue
        digest.update(_line(part.name, str(part.entry[2])))
        if part.known is None:
            new.add(part.path)
        elif part.known[2] != part.entry[2]:
            changed.add(part.path)
    if digest.hexdigest() == expected:
        return
    if cache:
        cache.unlink(missing_ok=True)  # a digest may be of former content with the same size and time stamp
    kinds = (removed, changed, new) if cached else ()
    listed = [path for kind in kinds for path in kind.first][:_LISTED]
    names = ": " + ", ".join(listed) if listed else ""
    hidden = sum(kind.count for kind in kinds) - len(listed)
    more = f" and {hidden} more" if hidden else ""
    raise UserError(
        f"{catalog.location}: the data changed while they were read{names}{more}; run again once they are "
        "complete"
    )


class _Files:
    """Files of one kind of change: their number, and the first of them for a message."""

    def __init__(self, kind: str) -> None:
        self.count = 0
        self.first: list[str] = []
        self._kind = kind

    def add(self, path: Path) -> None:
        self.count += 1
        if self.count <= _LISTED:
            self.first.append(f"{printable(str(path))} ({self._kind})")


def _names_digest(catalog: Catalog) -> hashlib._Hash:
    digest = hashlib.sha256()
    for name, size in catalog.sizes:
        digest.update(_line(name, str(size)))
    return digest


def _line(name: str, text: str) -> bytes:
    return f"{name}\0{text}\n".encode("utf-8", "surrogateescape")  # names on disk need not be UTF-8


_MANIFEST: Final = "/manifest"  # no other name of a part is that


def _parts(catalog: Catalog) -> Iterator[tuple[str, Path]]:
    """Yield name and path of each file, in the order of `_order`."""
    yield from catalog.source.parts(name for name, _ in catalog.sizes)
    if catalog.manifest:
        yield _MANIFEST, catalog.manifest


def _order(name: str) -> tuple[bool, str]:
    return name == _MANIFEST, name


@dataclass(frozen=True)
class _Part:
    """A file of the data set, or of the cache."""

    name: str
    path: Path
    known: _Entry | None  # in the cache
    entry: _Entry | None  # None: it is in the cache alone


def _read_parts(catalog: Catalog, cache: Path | None, digests: Iterable[tuple[str, str]]) -> Iterator[_Part]:
    """Yield every file in the order of `_order`, some of them in memory at a time."""
    known = _read_cache(cache, catalog) if cache else ()
    if object_uri(catalog.source.location):
        digests = catalog.source.checksums()
    with_known = ((name, (path, entry)) for name, path, entry in _join(_parts(catalog), known))
    rows = (
        (name, *row, digest)
        for name, row, digest in _join(with_known, digests)
        if row  # else: in an archive
    )

    def read(row: tuple[str, Path | None, _Entry | None, str | None]) -> _Part:
        name, path, entry, digest = row
        if path is None:
            ((_, path),) = catalog.source.parts([name])
            return _Part(name, path, entry, None)
        return _Part(name, path, entry, _digest(path, entry, digest))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        while block := list(itertools.islice(rows, _BLOCK)):
            yield from pool.map(read, block)


def _join(
    left: Iterable[tuple[str, L]], right: Iterable[tuple[str, R]]
) -> Iterator[tuple[str, L | None, R | None]]:
    """Join rows by name, both in the order of `_order`; a name may be on one side alone."""
    lefts, rights = iter(left), iter(right)
    one, other = next(lefts, None), next(rights, None)
    while one or other:
        if other is None or (one and _order(one[0]) < _order(other[0])):
            assert one
            yield *one, None
            one = next(lefts, None)
        elif one is None or one[0] != other[0]:
            yield other[0], None, other[1]
            other = next(rights, None)
        else:
            yield *one, other[1]
            one, other = next(lefts, None), next(rights, None)


def _digest(path: Path, known: _Entry | None, read: str | None) -> _Entry:
    """Return the entry of a file, whose SHA-256 is given if it was read already."""
    uri = object_uri(path)
    if uri:
        return [0, 0, read or checksum(uri)]
    if read:
        return [0, 0, read]
    try:
        if not path.is_file():  # reading a pipe would block
            return [0, 0, ""]
        status = path.stat()
        before = [status.st_size, status.st_mtime_ns]
        if known and known[:2] == before:
            return known
        return [*before, file_digest(path)]
    except OSError:  # quarantined when it is ingested
        return [0, 0, ""]


def _header(catalog: Catalog) -> str:
    """Return the first line of a cache: version, and the source that names are relative to."""
    return json.dumps([2, repr(catalog.source)])


def _read_cache(cache: Path, catalog: Catalog) -> Iterator[tuple[str, _Entry]]:
    """Yield names and entries of a cache of the same source; a missing or damaged one ends early."""
    with suppress(OSError, ValueError), cache.open(encoding="ascii") as stream:
        if stream.readline() != f"{_header(catalog)}\n":
            return
        for line in stream:
            name, entry = json.loads(line)
            yield name, entry
