"""What zip and tar archives have in common."""

from __future__ import annotations

import gzip
import posixpath
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from knet.base.errors import UserError
from knet.base.text import printable
from knet.data.image_checks import UnusableError, check_size
from knet.data.source import RandomAccessSource, Reader, Source


def member_sizes(location: Path, members: Iterable[tuple[str, int]], *, prefix: str) -> dict[str, int]:
    """Bytes by name, sorted; of the members whose names start with a prefix, named without it.

    Raises:
        UserError: a name leads out of the archive, or stands there twice.
    """
    sizes: dict[str, int] = {}
    for raw, size in members:
        name = member_name(raw)
        if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
            raise UserError(f"{location} holds {printable(raw)}, a name that leads out of it; make it anew")
        if name in sizes:
            raise UserError(f"{location} holds {printable(raw)} twice; make it anew")
        sizes[name] = size
    return {
        name.removeprefix(prefix): size for name, size in sorted(sizes.items()) if name.startswith(prefix)
    }


def member_name(raw: str) -> str:
    """A member's name without the `./` that some tools put before it."""
    return posixpath.normpath(raw)


def damaged(location: Path, error: Exception) -> UserError:
    """What to say of an archive that cannot be listed."""
    return UserError(f"{location} cannot be read as an archive ({error}); fetch or make it anew")


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
