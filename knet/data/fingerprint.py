"""One digest of a whole data set, which changes with its content alone."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from knet.base.digests import file_digest
from knet.base.files import atomic_write
from knet.base.storage import checksum, object_uri
from knet.data.catalog import Catalog

_SETTLED = 2.0  # seconds: a file changed so shortly before may change again without a later time

_Known = dict[str, list[int | str]]  # size, time of change in ns and SHA-256, by path


def fingerprint(catalog: Catalog, *, cache: Path, progress: Callable[[str], object] = str) -> str:
    """The SHA-256, in hexadecimal, of all names, sizes and contents, of the manifest too.

    Of objects in a store, which are not fetched for that, its checksums stand for the contents.

    Args:
        catalog: of the data set.
        cache: a file that remembers the digests of files whose size and time of change are the same.
        progress: is told how far it is.
    """
    parts = catalog.source.parts(name for name, _ in catalog.sizes)
    if catalog.manifest:
        parts["/manifest"] = catalog.manifest  # no name of a part starts so
    known = _read(cache)
    now: _Known = {}
    digest = hashlib.sha256()
    for name, size in catalog.sizes:
        digest.update(_line(name, str(size)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda path: _digest(path, known), parts.values())
        for done, (name, path, entry) in enumerate(zip(parts, parts.values(), results, strict=True)):
            now[str(path)] = entry
            digest.update(_line(name, str(entry[2])))
            if done % 100 == 0:
                progress(f"fingerprint: {done} of {len(parts)} files")
    _write(cache, now)
    return digest.hexdigest()


def _line(name: str, text: str) -> bytes:
    return f"{name}\0{text}\n".encode("utf-8", "surrogateescape")  # names on disk need not be UTF-8


def _digest(path: Path, known: _Known) -> list[int | str]:
    uri = object_uri(path)
    if uri:
        return [0, 0, checksum(uri)]
    try:
        if not path.is_file():  # a pipe would keep us waiting
            return [0, 0, ""]
        status = path.stat()
        before = [status.st_size, status.st_mtime_ns]
        entry = known.get(str(path))
        if entry and entry[:2] == before:
            return entry
        return [*before, file_digest(path)]
    except OSError:  # it is quarantined when it is to be read
        return [0, 0, ""]


def _read(cache: Path) -> _Known:
    try:
        return dict(json.loads(cache.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # not there, or not whole: then everything is read
        return {}


def _write(cache: Path, entries: _Known) -> None:
    settled = time.time_ns() - int(_SETTLED * 1e9)
    kept = {path: entry for path, entry in entries.items() if 0 < int(entry[1]) < settled}
    atomic_write(cache, json.dumps(kept))
