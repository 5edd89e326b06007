"""Files on a disk or in an object store (`s3://`, `gs://`), through one interface."""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from knet.base.buckets import Bucket, ObjectStat, open_bucket
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

    def __init__(self, uri: str) -> None:
        """Create a store for a URI such as `s3://bucket/folder`, without connecting to the server."""
        self._uri = uri

    def location(self, name: str) -> Path:
        """Return the URI of an object, as a path."""
        return Path(self._uri) / name

    def read(self, name: str, *, at_most: int | None = None) -> bytes | None:
        """See Store.

        Args:
            name: Name of the object.
            at_most: Bytes to read; the rest of a larger object is not downloaded. Default: all.
        """
        with self._bucket(name) as (bucket, key):
            return bucket.read(key, at_most=at_most)

    def download(self, name: str, path: Path) -> bool:
        """Download an object to a file, and return whether there is one."""
        with self._bucket(name) as (bucket, key):
            return bucket.download(key, path)

    def write(self, name: str, content: bytes) -> None:
        """See Store."""
        with self._bucket(name) as (bucket, key):
            bucket.write(key, content)

    def upload(self, path: Path, name: str) -> None:
        """Upload a file as an object."""
        with self._bucket(name) as (bucket, key):
            bucket.upload(path, key)

    def checksum(self, name: str) -> str:
        """Return the store's checksum of an object's content, such as S3's ETag."""
        with self._bucket(name) as (bucket, key):
            return bucket.checksum(key)

    def names(self, prefix: str) -> list[str]:
        """See Store."""
        return sorted(name for name, _ in self.listing(prefix))

    def listing(self, prefix: str) -> Iterator[tuple[str, ObjectStat]]:
        """Yield name and description of each object below a folder, in the order of the store.

        Args:
            prefix: Name of the folder, with a trailing slash; empty for the root.
        """
        with self._bucket(prefix) as (bucket, key):
            start = len(key) - len(prefix)
            for found in bucket.listing(key):
                if not found.key.endswith("/"):  # some tools mark a folder by an empty object
                    yield found.key[start:], found

    def stats(self, prefix: str) -> dict[str, FileStat]:
        """See Store."""
        return {name: FileStat(stat.size, stat.modified) for name, stat in sorted(self.listing(prefix))}

    def remove(self, name: str) -> None:
        """See Store."""
        with self._bucket(name) as (bucket, key):
            bucket.remove(key)

    @contextmanager
    def _bucket(self, name: str) -> Iterator[tuple[Bucket, str]]:
        """Provide the bucket, and the key of a name in it."""
        scheme, _, path = self._uri.partition("://")
        bucket, _, folder = path.partition("/")
        with _naming_uri(f"{self._uri}/{name}"):
            yield open_bucket(scheme, bucket), f"{folder}/{name}".lstrip("/")


@contextmanager
def _naming_uri(uri: str) -> Iterator[None]:
    """Raise UserError, naming the URI, in place of an error of the object store."""
    try:
        yield
    except UserError:
        raise
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
    path.parent.mkdir(parents=True, exist_ok=True)
    if store.download(last, path):
        return True
    names = store.names(f"{last}/")
    for name in names:
        file = path / name.removeprefix(f"{last}/")
        file.parent.mkdir(parents=True, exist_ok=True)
        store.download(name, file)
    return bool(names)


def upload(path: Path, uri: str) -> None:
    """Upload a file, or all files below a folder; a path that does not exist is ignored.

    Raises:
        UserError: The object store cannot be written to.
    """
    parent, _, last = uri.rpartition("/")
    store = ObjectStore(parent)
    if path.is_file():
        store.upload(path, last)
    for file in (found for found in path.rglob("*") if found.is_file()):
        store.upload(file, f"{last}/{file.relative_to(path).as_posix()}")


def checksum(uri: str) -> str:
    """Return the object store's checksum of an object's content, such as S3's ETag."""
    parent, _, last = uri.rpartition("/")
    return ObjectStore(parent).checksum(last)


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
