"""An uncompressed tar archive as a source, read in place."""

from __future__ import annotations

import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from components.breakhis_example_gen.quarantine import UnusableError, check_size
from components.breakhis_example_gen.sources.archive import damaged, member_name, member_sizes
from components.breakhis_example_gen.sources.source import RandomAccessSource, Reader


@dataclass(frozen=True)
class TarArchive(RandomAccessSource):
    """The members of a tar archive; each reader opens it once."""

    location: Path
    prefix: str = ""

    def files(self) -> dict[str, int]:
        """See Source."""
        members = list_members(self.location, mode="r:")
        return member_sizes(self.location, members, prefix=self.prefix)

    def parts(self, names: Iterable[str]) -> dict[str, Path]:
        """The archive."""
        return {self.location.name: self.location}

    def below(self, prefix: str) -> TarArchive:
        """See Source."""
        return replace(self, prefix=self.prefix + prefix)

    def open(self) -> Reader:
        """See Source."""
        return _TarReader(self)


class _TarReader(Reader):
    def __init__(self, source: TarArchive) -> None:
        self._prefix = source.prefix
        self._archive = tarfile.open(source.location, "r:")  # noqa: SIM115 (closed with the reader)
        self._members = {member_name(m.name): m for m in self._archive if not m.isdir()}

    def read(self, name: str) -> bytes:
        member = self._members[self._prefix + name]
        if not member.isreg():
            raise UnusableError("a link or another special file, not the image itself")
        check_size(member.size)
        try:
            file = self._archive.extractfile(member)
            assert file is not None  # of a regular file
            return file.read()
        except Exception as error:  # a damaged archive may raise anything
            raise UnusableError(f"cannot be read from the archive ({error})") from None

    def close(self) -> None:
        self._archive.close()


def list_members(location: Path, *, mode: str) -> list[tuple[str, int]]:
    """Name and bytes of every member but folders.

    Args:
        location: of the archive.
        mode: `r:` for an uncompressed archive, `r|gz` for a compressed one, read once from begin to end.

    Raises:
        UserError: the archive is damaged.
    """
    try:
        with tarfile.open(location, mode) as archive:  # type: ignore[call-overload]
            return [(member.name, member.size) for member in archive if not member.isdir()]
    except Exception as error:  # a damaged archive may raise anything
        raise damaged(location, error) from None
