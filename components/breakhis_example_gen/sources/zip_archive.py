"""A zip archive as a source, read in place."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from components.breakhis_example_gen.quarantine import UnusableError, check_size
from components.breakhis_example_gen.sources.archive import damaged, member_name, member_sizes
from components.breakhis_example_gen.sources.source import RandomAccessSource, Reader


@dataclass(frozen=True)
class ZipArchive(RandomAccessSource):
    """The members of a zip archive; each reader opens it once."""

    location: Path
    prefix: str = ""

    def files(self) -> dict[str, int]:
        """See Source."""
        try:
            with zipfile.ZipFile(self.location) as archive:
                members = [(i.filename, i.file_size) for i in archive.infolist() if not i.is_dir()]
        except Exception as error:  # a damaged archive may raise anything
            raise damaged(self.location, error) from None
        return member_sizes(self.location, members, prefix=self.prefix)

    def parts(self, names: Iterable[str]) -> dict[str, Path]:
        """The archive."""
        return {self.location.name: self.location}

    def below(self, prefix: str) -> ZipArchive:
        """See Source."""
        return replace(self, prefix=self.prefix + prefix)

    def open(self) -> Reader:
        """See Source."""
        return _ZipReader(self)


class _ZipReader(Reader):
    def __init__(self, source: ZipArchive) -> None:
        self._prefix = source.prefix
        self._archive = zipfile.ZipFile(source.location)
        self._members = {member_name(i.filename): i for i in self._archive.infolist() if not i.is_dir()}

    def read(self, name: str) -> bytes:
        member = self._members[self._prefix + name]
        check_size(member.file_size)
        try:
            return self._archive.read(member)
        except Exception as error:  # a damaged or encrypted member may raise anything
            raise UnusableError(f"cannot be read from the archive ({error})") from None

    def close(self) -> None:
        self._archive.close()
