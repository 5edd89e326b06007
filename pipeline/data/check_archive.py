"""Checks that an archive holds the images of BreaKHis, all of them and no others."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections import Counter
from collections.abc import Set
from pathlib import Path
from typing import BinaryIO

from pipeline.data.fetch_file import Progress
from pipeline.errors import UserError

_BELOW = "BreaKHis_v1/histology_slides/breast/"
_LISTED = 5  # names in one message
_BLOCK = 1 << 20  # bytes


def check_archive(archive: Path, *, names: Set[str], progress: Progress) -> str:
    """Reads a .tar.gz once, from end to end, and returns its SHA-256 in hexadecimal.

    Nothing is unpacked, and no image decoded: their names are compared, and gzip's checksum covers the rest.

    Args:
        archive: the file.
        names: of the images that it must hold, below `BreaKHis_v1/histology_slides/breast`.
        progress: is told how far it is.

    Raises:
        UserError: the archive is damaged, or images are missing, unknown or there twice.
    """
    found: Counter[str] = Counter()
    with archive.open("rb") as file:
        hashed = _HashedReader(file, archive.stat().st_size, progress)
        try:
            with gzip.GzipFile(fileobj=hashed, mode="rb") as content:  # type: ignore[call-overload]
                with tarfile.open(fileobj=content, mode="r|") as members:
                    found.update(m.name.removeprefix("./") for m in members if m.isfile())
                while content.read(_BLOCK):  # to gzip's checksum at the end
                    pass
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise UserError(f"{archive} is damaged or not whole ({error}); remove it and run again") from None
        while hashed.read(_BLOCK):
            pass
    images = {name: times for name, times in found.items() if name.lower().endswith(".png")}
    expected = {_BELOW + name for name in names}
    problems = [
        *_problem("missing", expected - images.keys()),
        *_problem("unknown", images.keys() - expected),
        *_problem("there twice", {name for name, times in images.items() if times > 1}),
    ]
    if problems:
        raise UserError(
            f"{archive} is not the official archive of {len(names):,} images: {'; '.join(problems)}"
        )
    return hashed.digest.hexdigest()


class _HashedReader:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO, size: int, progress: Progress) -> None:
        self._file, self._size, self._progress = file, size, progress
        self._done = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        self._done += len(block)
        self._progress(self._done, self._size)
        return block


def _problem(what: str, names: Set[str]) -> list[str]:
    if not names:
        return []
    listed = ", ".join(sorted(names)[:_LISTED])
    return [f"{len(names):,} images {what} ({listed}{', ...' if len(names) > _LISTED else ''})"]
