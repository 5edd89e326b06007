"""Files on a disk or in an object store (`s3://`, `gs://`), through one interface."""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.files import atomic_write


@dataclass(frozen=True)
class FileStat:
    """Size and last use of a file."""

    size: int  # bytes
    used: float  # seconds since the epoch; object stores know the last write only


class Store(ABC):
    """Files by name under one root; names have forward slashes.

    Writes are atomic. When several processes write the same file, the last one wins.
    """

    @abstractmethod
    def location(self, name: str) -> Path:
        """Return the location of a file or folder, which `local_copy` accepts."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None if there is no such file.

        Raises:
            UserError: The store cannot be read.
        """

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write a file, in place of one of the same name.

        Raises:
            UserError: The store cannot be written to.
        """

    @abstractmethod
    def names(self, prefix: str) -> list[str]:
        """Return the names of all files below a folder, sorted.

        Args:
            prefix: Name of the folder, with a trailing slash.

        Raises:
            UserError: The store cannot be read.
        """

    @abstractmethod
    def stats(self, prefix: str) -> dict[str, FileStat]:
        """Return size and last use of all files below a folder by name, sorted, unfinished files included.

        Args:
            prefix: Name of the folder, with a trailing slash; empty for the root.

        Raises:
            UserError: The store cannot be read.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; one that does not exist is ignored.

        Raises:
            UserError: The store cannot be written to.
        """


class FolderStore(Store):
    """The files below a folder, which the first write creates."""

    def __init__(self, folder: Path) -> None:
        """Create a store for a folder, which need not exist."""
        self._folder = folder

    def location(self, name: str) -> Path:
        """Return the path of a file."""
        return self._folder / name

    def read(self, name: str) -> bytes | None:
        """See Store."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """See Store."""
        atomic_write(self._folder / name, content)

    def names(self, prefix: str) -> list[str]:
        """See Store; hidden files, such as unfinished ones, are excluded."""
        files = (path for path in (self._folder / prefix).rglob("[!.]*") if path.is_file())
        return sorted(path.relative_to(self._folder).as_posix() for path in files)

    def stats(self, prefix: str) -> dict[str, FileStat]:
        """See Store."""
        found = {}
        for path in sorted((self._folder / prefix).rglob("*")):
            with suppress(FileNotFoundError):  # removed meanwhile
                if path.is_file():
                    stat = path.stat()
                    used = max(stat.st_atime, stat.st_mtime)
                    found[path.relative_to(self._folder).as_posix()] = FileStat(stat.st_size, used)
        return found

    def remove(self, name: str) -> None:
        """See Store."""
        (self._folder / name).unlink(missing_ok=True)


class ObjectStore(Store):
    """The objects below a URI; an object appears when its upload is complete.

    S3 is accessed with the usual environment variables: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
    AWS_DEFAULT_REGION, and AWS_ENDPOINT_URL for a server that is not Amazon's.
    """

    # Beam takes seconds to import, so methods import it.

    def __init__(self, uri: str) -> None:
        """Create a store for a URI such as `s3://bucket/folder`, without connecting to the server."""
        self._uri = uri

    def location(self, name: str) -> Path:
        """Return the URI of an object, as a path."""
        return Path(self._uri) / name

    def read(self, name: str, *, at_most: int = -1) -> bytes | None:
        """See Store.

        Args:
            name: Name of the object.
            at_most: Bytes to read; the rest of a larger object is not downloaded. Default: all.
        """
        from apache_beam.io.filesystem import CompressionTypes

        uri, file_systems = f"{self._uri}/{name}", _file_systems()
        with _naming_uri(uri):
            if not file_systems.exists(uri):
                return None
            with file_systems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                content: bytes = file.read(at_most)
                return content

    def write(self, name: str, content: bytes) -> None:
        """See Store."""
        from apache_beam.io.filesystem import CompressionTypes

        uri = f"{self._uri}/{name}"
        if not content and uri.startswith("s3://"):
            with _naming_uri(uri):
                _put_empty(uri)
            return
        with (
            _naming_uri(uri),
            _file_systems().create(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file,
        ):
            file.write(content)

    def checksum(self, name: str) -> str:
        """Return the store's checksum of an object's content, such as S3's ETag."""
        uri = f"{self._uri}/{name}"
        with _naming_uri(uri):
            return str(_file_systems().checksum(uri))

    def names(self, prefix: str) -> list[str]:
        """See Store."""
        return list(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Return the size in bytes of each object below a folder, by name, sorted."""
        return {name: stat.size for name, stat in self.stats(prefix).items()}

    def stats(self, prefix: str) -> dict[str, FileStat]:
        """See Store."""
        with _naming_uri(f"{self._uri}/{prefix}"):
            (matched,) = _file_systems().match([f"{self._uri}/{prefix}**"])
        start = len(f"{self._uri}/")
        stats = {
            found.path[start:]: FileStat(found.size_in_bytes, found.last_updated_in_seconds)
            for found in matched.metadata_list
        }
        # Some tools mark a folder by an empty object.
        return {name: stats[name] for name in sorted(stats) if not name.endswith("/")}

    def remove(self, name: str) -> None:
        """See Store."""
        uri, file_systems = f"{self._uri}/{name}", _file_systems()
        with _naming_uri(uri):
            if file_systems.exists(uri):
                file_systems.delete([uri])


def _put_empty(uri: str) -> None:
    """Create an empty object; Beam uploads in parts, and S3 rejects an upload without parts."""
    import boto3

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    boto3.session.Session().client("s3").put_object(Bucket=bucket, Key=key, Body=b"")


def _file_systems() -> Any:
    """Return Beam's FileSystems, which needs options even if they are empty."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:  # a Beam pipeline in this process has set its own
        FileSystems.set_options(PipelineOptions([]))
    return FileSystems


@contextmanager
def _naming_uri(uri: str) -> Iterator[None]:
    """Raise UserError, naming the URI, in place of an error of the object store."""
    try:
        yield
    except Exception as error:  # libraries and servers raise many unrelated classes
        raise UserError(
            f"{uri}: the object store cannot be used ({error}); check the bucket, and AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL in the environment"
        ) from error


_URI = re.compile(r"(s3|gs):/{1,2}(?=[^/])")


def object_uri(location: Path | str) -> str | None:
    """Return a location's URI in an object store, without trailing slash; None for a path on a disk.

    `Path("s3://bucket")` collapses the two slashes; they are restored.
    """
    text = str(location)
    match = _URI.match(text)
    return f"{match[1]}://{text[match.end() :].rstrip('/')}" if match else None


def open_store(location: Path | str) -> Store:
    """Return an ObjectStore for a URI such as `s3://bucket/folder`, else a FolderStore."""
    uri = object_uri(location)
    return ObjectStore(uri) if uri else FolderStore(Path(location))


def download(uri: str, path: Path) -> bool:
    """Download an object, or all objects below a folder.

    Args:
        uri: URI of the object or folder.
        path: File, or folder, to write.

    Returns:
        Whether there was any object.

    Raises:
        UserError: The object store cannot be read.
    """
    parent, _, last = uri.rpartition("/")
    store = ObjectStore(parent)
    content = store.read(last)
    if content is not None:
        _write(path, content)
        return True
    names = store.names(f"{last}/")
    for name in names:
        _write(path / name.removeprefix(f"{last}/"), store.read(name) or b"")
    return bool(names)


def upload(path: Path, uri: str) -> None:
    """Upload a file, or all files below a folder; a path that does not exist is ignored.

    Raises:
        UserError: The object store cannot be written to.
    """
    parent, _, last = uri.rpartition("/")
    store = ObjectStore(parent)
    if path.is_file():
        store.write(last, path.read_bytes())
    for file in (found for found in path.rglob("*") if found.is_file()):
        store.write(f"{last}/{file.relative_to(path).as_posix()}", file.read_bytes())


def checksum(uri: str) -> str:
    """Return the object store's checksum of an object's content, such as S3's ETag."""
    parent, _, last = uri.rpartition("/")
    return ObjectStore(parent).checksum(last)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextmanager
def local_copy(location: Path | str) -> Iterator[Path]:
    """Provide a file or folder on this machine's disk.

    Yields:
        A path on a disk as it is; for a URI the path of a temporary copy.

    Raises:
        UserError: There is no such object, or the object store cannot be read.
    """
    uri = object_uri(location)
    if uri is None:
        yield Path(location)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / uri.rpartition("/")[2]
        if not download(uri, copy):
            raise UserError(f"{uri}: there is no such object, nor any below it")
        yield copy
