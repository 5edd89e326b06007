"""A gzipped tar archive as a source: it can only be read from begin to end."""

from __future__ import annotations

import gzip
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from components.breakhis_example_gen.sources.archive import damaged, member_sizes
from components.breakhis_example_gen.sources.source import Source
from components.breakhis_example_gen.sources.tar_archive import TarArchive, list_members
from pipeline.errors import UserError


@dataclass(frozen=True)
class TarGzArchive(Source):
    """The members of a `.tar.gz`."""

    location: Path
    prefix: str = ""

    def files(self) -> dict[str, int]:
        """See Source; unpacks the archive once, to nowhere."""
        members = list_members(self.location, mode="r|gz")
        return member_sizes(self.location, members, prefix=self.prefix)

    def parts(self, names: Iterable[str]) -> dict[str, Path]:
        """The archive."""
        return {self.location.name: self.location}

    def below(self, prefix: str) -> TarGzArchive:
        """See Source."""
        return replace(self, prefix=self.prefix + prefix)

    @contextmanager
    def random_access(self, folder: Path) -> Iterator[TarArchive]:
        """An uncompressed copy, made by one sequential reader and removed again."""
        _check_space(self.location, folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked-") as temporary:
            copy = Path(temporary) / "data.tar"
            try:
                with gzip.open(self.location) as packed, copy.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 2**20)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise damaged(self.location, error) from None
            except OSError as error:
                raise UserError(f"cannot unpack {self.location} into {folder}: {error.strerror}") from None
            yield TarArchive(copy, self.prefix)


def _check_space(archive: Path, folder: Path) -> None:
    """Refuses to begin where the copy and the examples, which hold the same images, cannot both be written.

    Images hardly pack, so that each takes about as much as the archive.
    """
    needed, free = 2 * archive.stat().st_size, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{archive} is unpacked for the run and takes {_gib(needed)} with the examples, but {folder} has "
            f"{_gib(free)} left: free some space, or unpack it elsewhere and name that folder"
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
