"""Archives as sources: zip, tar and gzipped tar."""

from __future__ import annotations

import gzip
import posixpath
import re
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from knet.base.errors import UnusableError, UserError
from knet.base.image_files import check_size
from knet.base.storage import download, object_uri
from knet.base.text import printable
from knet.data.source import RandomAccessSource, Reader, Source

_SUFFIXES: Final = (".zip", ".tar", ".tar.gz", ".tgz")


def is_archive(name: str) -> bool:
    """Return whether a file is an archive, by its name."""
    return name.lower().endswith(_SUFFIXES)


def open_archive(file: Path) -> Source:
    """Make the source for an archive on disk, given by its absolute path; reads nothing yet."""
    name = file.name.lower()
    if name.endswith(".zip"):
        return ZipArchive(file)
    return TarArchive(file) if name.endswith(".tar") else TarGzArchive(file)


@dataclass(frozen=True)
class _Archive(Source):
    """An archive; its files are those whose names start with the prefix, named without it."""

    location: Path
    prefix: str = ""

    def parts(self, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
        """See Source."""
        yield self.location.name, self.location

    def below(self, prefix: str) -> Source:
        """See Source."""
        return replace(self, prefix=self.prefix + prefix)


class TarArchive(_Archive, RandomAccessSource):
    """An uncompressed tar archive."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """See Source."""
        members = _list_members(self.location, mode="r:")
        return _member_sizes(self.location, members, prefix=self.prefix)

    def open(self) -> Reader:
        """See Source."""
        return _TarReader(self)


class _TarReader(Reader):
    def __init__(self, source: TarArchive) -> None:
        self._prefix = source.prefix
        self._archive = tarfile.open(source.location, "r:")  # noqa: SIM115 (closed with the reader)
        self._members = {_normalize(m.name): m for m in self._archive if not m.isdir()}

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


class TarGzArchive(_Archive):
    """A gzipped tar archive; it is unpacked to be read in any order."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """See Source; decompresses the whole archive."""
        members = _list_members(self.location, mode="r|gz")
        return _member_sizes(self.location, members, prefix=self.prefix)

    @contextmanager
    def random_access(self, folder: Path) -> Iterator[TarArchive]:
        """See Source; yields an uncompressed copy, which is removed afterwards."""
        _check_space(self.location, folder)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacked-") as temporary:
            copy = Path(temporary) / "data.tar"
            try:
                with gzip.open(self.location) as packed, copy.open("wb") as unpacked:
                    shutil.copyfileobj(packed, unpacked, 2**20)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise _damaged(self.location, error) from None
            except OSError as error:
                raise UserError(f"cannot unpack {self.location} into {folder}: {error.strerror}") from None
            yield TarArchive(copy, self.prefix)


def _check_space(archive: Path, folder: Path) -> None:
    """Check that the disk has room for the copy and for the examples.

    Both hold the same images, which hardly compress: each is about as large as the archive.
    """
    needed, free = 2 * archive.stat().st_size, shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"{archive} is unpacked for the run and needs {_gib(needed)} with the examples, but {folder} has "
            f"{_gib(free)} left: free some space, or unpack it elsewhere and name that folder"
        )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"


class RemoteArchive(_Archive):
    """An archive in an object store; it is downloaded to be listed, and to be read."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """See Source."""
        with tempfile.TemporaryDirectory() as temporary, self._download(Path(temporary)) as archive:
            yield from archive.listing()

    @contextmanager
    def random_access(self, folder: Path) -> Iterator[RandomAccessSource]:
        """See Source; yields a local copy, which is removed afterwards."""
        with (
            tempfile.TemporaryDirectory(dir=folder, prefix=".downloaded-") as temporary,
            self._download(Path(temporary)) as archive,
            archive.random_access(folder) as source,
        ):
            yield source

    @contextmanager
    def _download(self, folder: Path) -> Iterator[Source]:
        """Provide the archive in a folder; errors name the object."""
        uri = object_uri(self.location) or ""
        file = folder / self.location.name
        if not download(uri, file):
            raise UserError(f"no such data folder or archive: {uri}")
        try:
            yield open_archive(file).below(self.prefix)
        except UserError as error:
            raise UserError(str(error).replace(str(file), uri)) from None


class ZipArchive(_Archive, RandomAccessSource):
    """A zip archive."""

    def listing(self) -> Iterator[tuple[str, int]]:
        """See Source."""
        try:
            with zipfile.ZipFile(self.location) as archive:
                members = [(name, info.file_size) for name, info in _zip_members(archive)]
        except Exception as error:  # a damaged archive may raise anything
            raise _damaged(self.location, error) from None
        return _member_sizes(self.location, members, prefix=self.prefix)

    def open(self) -> Reader:
        """See Source."""
        return _ZipReader(self)


class _ZipReader(Reader):
    def __init__(self, source: ZipArchive) -> None:
        self._prefix = source.prefix
        self._archive = zipfile.ZipFile(source.location)
        self._members = {_normalize(name): info for name, info in _zip_members(self._archive)}

    def read(self, name: str) -> bytes:
        member = self._members[self._prefix + name]
        check_size(member.file_size)
        try:
            return self._archive.read(member)
        except Exception as error:  # a damaged or encrypted member may raise anything
            raise UnusableError(f"cannot be read from the archive ({error})") from None

    def close(self) -> None:
        self._archive.close()


def _zip_members(archive: zipfile.ZipFile) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yield every member except folders, with its name, in which Windows' backslashes are slashes."""
    for info in archive.infolist():
        name = _zip_name(info)
        if info.create_system in _WINDOWS:
            name = name.replace("\\", "/")
        if not name.endswith("/") and not (name.endswith("\\") and not info.file_size):
            yield name, info


_WINDOWS: Final = (0, 10, 14)  # file systems of DOS and Windows, whose names hold no backslashes
_UTF_8: Final = 0x800  # the flag of a name in UTF-8
_UNICODE_PATH: Final = 0x7075  # the extra field with a name in UTF-8


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a member.

    `zipfile` reads names without the flag for UTF-8 as code page 437. Programs of macOS write UTF-8 without
    the flag, and those of Windows a field with the name in UTF-8 and the checksum of the name that it is for.
    """
    if info.flag_bits & _UTF_8 or info.filename.isascii():
        return info.filename
    try:
        raw = info.filename.encode("cp437")
    except UnicodeEncodeError:  # `zipfile` of a later Python has read the field
        return info.filename
    extra = info.extra
    while len(extra) > 9:
        kind, size, _, checksum = struct.unpack_from("<HHBI", extra)
        if kind == _UNICODE_PATH and checksum == zlib.crc32(raw):
            raw = extra[9 : 4 + size]
        extra = extra[4 + size :]
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return info.filename


def _list_members(location: Path, *, mode: str) -> list[tuple[str, int]]:
    """List name and bytes of every member except folders.

    Args:
        location: Path of the archive.
        mode: `r:` for an uncompressed archive, `r|gz` for a compressed one, which is read once.

    Raises:
        UserError: The archive is damaged.
    """
    try:
        with tarfile.open(location, mode) as archive:  # type: ignore[call-overload]
            members = []
            while member := archive.next():
                archive.members = []  # which would hold a kilobyte for each
                if not member.isdir():
                    members.append((member.name, member.size))
            return members
    except Exception as error:  # a damaged archive may raise anything
        raise _damaged(location, error) from None


def _member_sizes(
    location: Path, members: Iterable[tuple[str, int]], *, prefix: str
) -> Iterator[tuple[str, int]]:
    """Return name and bytes, sorted, of the members whose names start with a prefix, named without it.

    Args:
        location: Path of the archive, for messages.
        members: Name and bytes of each member.
        prefix: Prefix of the names.

    Raises:
        UserError: A name leads out of the archive, is ambiguous, or occurs twice.
    """
    sizes: dict[str, int] = {}
    for raw, size in members:
        name = _normalize(raw)
        if name.startswith("/") or ".." in name.replace("\\", "/").split("/") or _DRIVE.match(name):
            raise UserError(
                f"{location} holds {printable(raw)}, a name that leads out of it; create it again"
            )
        if "\\" in name:
            raise UserError(
                f"{location} holds {printable(raw)}, whose backslash may separate folders or be part of a "
                "name; create it again with slashes"
            )
        if name in sizes:
            raise UserError(f"{location} holds {printable(raw)} twice; create it again")
        sizes[name] = size
    return (
        (name.removeprefix(prefix), size) for name, size in sorted(sizes.items()) if name.startswith(prefix)
    )


_DRIVE: Final = re.compile(r"[A-Za-z]:/")  # of Windows


def _normalize(raw: str) -> str:
    """Normalize a member's name; some tools write `./` before it, or backslashes alone, as in a manifest."""
    return posixpath.normpath(raw if "/" in raw else raw.replace("\\", "/"))


def _damaged(location: Path, error: Exception) -> UserError:
    """Make the error for an archive that cannot be read."""
    return UserError(f"{location} cannot be read as an archive ({error}); download or create it again")
