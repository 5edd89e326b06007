"""Fingerprint of a data set: a digest that changes if and only if its content does."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from knet.base.digests import file_digest
from knet.base.errors import UserError
from knet.base.files import atomic_write
from knet.base.storage import checksum, object_uri
from knet.base.text import printable
from knet.data.catalog import Catalog

_SETTLED = 2.0  # seconds; a file modified later than that may change again under the same time stamp

_LISTED = 10  # files of one message

_Entries = dict[str, list[int | str]]  # bytes, modification time in ns and SHA-256, by path


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
    digest, entries = _compute(catalog, _read_cache(cache), {}, progress)
    _write_cache(cache, entries)
    return digest


def check_unchanged(
    catalog: Catalog, expected: str, *, digests: Mapping[str, str], cache: Path | None
) -> None:
    """Check that a data set has the fingerprint that a run started with.

    Args:
        catalog: Catalog of the data set, as it was read.
        expected: Fingerprint at the start of the run.
        digests: SHA-256, in hexadecimal, of the images that were read, by name; they are not read again.
        cache: File of the digests at the start of the run, to name the files that changed. None: unknown.

    Raises:
        UserError: The data changed; the message names the files. The file of digests is removed.
    """
    known = _read_cache(cache) if cache else {}
    found, entries = _compute(catalog, known, digests)
    if found == expected:
        return
    changed = [f"{path} (removed)" for path in known if path not in entries]
    for path, entry in entries.items():
        if known and entry[2] != known.get(path, entry)[2]:
            changed.append(f"{path} (changed)")
        elif known and path not in known:
            changed.append(f"{path} (new)")
    if cache:
        cache.unlink(missing_ok=True)  # a digest may be of former content with the same size and time stamp
    names = ": " + ", ".join(map(printable, changed[:_LISTED])) if changed else ""
    more = f" and {len(changed) - _LISTED} more" if len(changed) > _LISTED else ""
    raise UserError(
        f"{catalog.location}: the data changed while they were read{names}{more}; run again once they are "
        "complete"
    )


def _compute(
    catalog: Catalog,
    known: _Entries,
    digests: Mapping[str, str],
    progress: Callable[[str], object] = str,
) -> tuple[str, _Entries]:
    """Return the fingerprint, and the entry of each file."""
    parts = dict(catalog.source.parts(name for name, _ in catalog.sizes))
    if catalog.manifest:
        parts["/manifest"] = catalog.manifest  # no other name of a part is that
    entries: _Entries = {}
    digest = hashlib.sha256()
    for name, size in catalog.sizes:
        digest.update(_line(name, str(size)))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = pool.map(lambda part: _digest(part[1], known, digests.get(part[0])), parts.items())
        for done, (name, path, entry) in enumerate(zip(parts, parts.values(), results, strict=True)):
            entries[str(path)] = entry
            digest.update(_line(name, str(entry[2])))
            if done % 100 == 0:
                progress(f"fingerprint: {done} of {len(parts)} files")
    return digest.hexdigest(), entries


def _line(name: str, text: str) -> bytes:
    return f"{name}\0{text}\n".encode("utf-8", "surrogateescape")  # names on disk need not be UTF-8


def _digest(path: Path, known: _Entries, read: str | None) -> list[int | str]:
    """Return the entry of a file, whose SHA-256 is given if it was read already."""
    uri = object_uri(path)
    if uri:
        return [0, 0, checksum(uri)]
    if read:
        return [0, 0, read]
    try:
        if not path.is_file():  # reading a pipe would block
            return [0, 0, ""]
        status = path.stat()
        before = [status.st_size, status.st_mtime_ns]
        entry = known.get(str(path))
        if entry and entry[:2] == before:
            return entry
        return [*before, file_digest(path)]
    except OSError:  # quarantined when it is ingested
        return [0, 0, ""]


def _read_cache(cache: Path) -> _Entries:
    try:
        return dict(json.loads(cache.read_text(encoding="utf-8")))
    except (OSError, ValueError):  # missing or damaged: read every file again
        return {}


def _write_cache(cache: Path, entries: _Entries) -> None:
    settled = time.time_ns() - int(_SETTLED * 1e9)
    stored = {path: entry for path, entry in entries.items() if 0 < int(entry[1]) < settled}
    atomic_write(cache, json.dumps(stored))
