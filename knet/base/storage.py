"""What every store offers."""

from __future__ import annotations

import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.files import atomic_write


class Store(ABC):
    """Files by name under one root; names have forward slashes.

    A file is written whole or not at all. Of two that write the same one, the later stays.
    """

    @abstractmethod
    def location(self, name: str) -> Path:
        """Where a file is, or a folder of files, as `local_copy` takes it."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The content of a file, or None where there is none.

        Raises:
            UserError: the store cannot be read.
        """

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Writes a file.

        Raises:
            UserError: the store cannot be written to.
        """

    @abstractmethod
    def names(self, prefix: str) -> list[str]:
        """The names that begin so, sorted.

        Args:
            prefix: of whole folders, with a slash at its end.

        Raises:
            UserError: the store cannot be read.
        """


class FolderStore(Store):
    """The files below a folder, which is made when the first is written."""

    def __init__(self, folder: Path) -> None:
        """Names the folder."""
        self._folder = folder

    def location(self, name: str) -> Path:
        """The path."""
        return self._folder / name

    def read(self, name: str) -> bytes | None:
        """See Store."""
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """See Store; the file is renamed when it is whole."""
        atomic_write(self._folder / name, content)

    def names(self, prefix: str) -> list[str]:
        """See Store; without what is still being written."""
        files = (path for path in (self._folder / prefix).rglob("[!.]*") if path.is_file())
        return sorted(path.relative_to(self._folder).as_posix() for path in files)


class ObjectStore(Store):
    """The objects whose names begin with a URI.

    An object appears when it is uploaded, and not before. Access to S3 is taken from the environment, as
    every program for it does: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, and
    AWS_ENDPOINT_URL where the server is not Amazon's. Beam takes seconds to import, so it is imported late.
    """

    def __init__(self, uri: str) -> None:
        """Names the part, such as `s3://bucket/folder`; nothing is asked of the server yet."""
        self._uri = uri

    def location(self, name: str) -> Path:
        """The URI, as a path."""
        return Path(self._uri) / name

    def read(self, name: str, *, at_most: int = -1) -> bytes | None:
        """See Store; of a larger object only so many bytes."""
        from apache_beam.io.filesystem import CompressionTypes

        uri, file_systems = f"{self._uri}/{name}", _file_systems()
        with _explained(uri):
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
            with _explained(uri):
                _put_empty(uri)
            return
        with (
            _explained(uri),
            _file_systems().create(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file,
        ):
            file.write(content)

    def checksum(self, name: str) -> str:
        """What the store says of a file's content, which is another one for another content."""
        uri = f"{self._uri}/{name}"
        with _explained(uri):
            return str(_file_systems().checksum(uri))

    def names(self, prefix: str) -> list[str]:
        """See Store."""
        return list(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes by name, of the names that begin so, sorted."""
        with _explained(f"{self._uri}/{prefix}"):
            (matched,) = _file_systems().match([f"{self._uri}/{prefix}**"])
        start = len(f"{self._uri}/")
        sizes = {found.path[start:]: found.size_in_bytes for found in matched.metadata_list}
        # Some tools mark a folder by an empty object.
        return {name: sizes[name] for name in sorted(sizes) if not name.endswith("/")}


def _put_empty(uri: str) -> None:
    """Beam uploads in parts, and S3 takes no upload of none."""
    import boto3

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    boto3.session.Session().client("s3").put_object(Bucket=bucket, Key=key, Body=b"")


def _file_systems() -> Any:
    """Beam's, which wants options even where there are none."""
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions

    if FileSystems._pipeline_options is None:  # a Beam pipeline in this process has set its own
        FileSystems.set_options(PipelineOptions([]))
    return FileSystems


@contextmanager
def _explained(uri: str) -> Iterator[None]:
    """Says where an object store could not be reached."""
    try:
        yield
    except Exception as error:  # each server and library has kinds of its own
        raise UserError(
            f"{uri}: the object store cannot be used ({error}); check the bucket, and AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL in the environment"
        ) from error


_URI = re.compile(r"(s3|gs):/{1,2}(?=[^/])")


def object_uri(location: Path | str) -> str | None:
    """The URI of what lies in an object store, without a slash at its end; None for a path on a disk.

    A Path makes one slash of the two in `s3://bucket`; they are put back.
    """
    text = str(location)
    match = _URI.match(text)
    return f"{match[1]}://{text[match.end() :].rstrip('/')}" if match else None


def open_store(location: Path | str) -> Store:
    """The object store of a URI such as `s3://bucket/folder`, else the folder of that path."""
    uri = object_uri(location)
    return ObjectStore(uri) if uri else FolderStore(Path(location))


def fetch(uri: str, path: Path) -> bool:
    """Downloads an object, or all below a folder of objects; says whether there was any.

    Args:
        uri: of the object or folder.
        path: of the file, or the folder, to write.

    Raises:
        UserError: the object store cannot be read.
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


def send(path: Path, uri: str) -> None:
    """Uploads a file, or all files of a folder; nothing where there is nothing.

    Raises:
        UserError: the object store cannot be written to.
    """
    parent, _, last = uri.rpartition("/")
    store = ObjectStore(parent)
    if path.is_file():
        store.write(last, path.read_bytes())
    for file in (found for found in path.rglob("*") if found.is_file()):
        store.write(f"{last}/{file.relative_to(path).as_posix()}", file.read_bytes())


def checksum(uri: str) -> str:
    """What the store says of an object's content: another one has another; S3 calls it ETag."""
    parent, _, last = uri.rpartition("/")
    return ObjectStore(parent).checksum(last)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@contextmanager
def local_copy(location: Path | str) -> Iterator[Path]:
    """The path itself, or one of a copy, which is removed afterwards, of a file or folder in an object store.

    Raises:
        UserError: there is nothing in the object store, or it cannot be read.
    """
    uri = object_uri(location)
    if uri is None:
        yield Path(location)
        return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / uri.rpartition("/")[2]
        if not fetch(uri, copy):
            raise UserError(f"{uri}: there is no such object, nor any below it")
        yield copy
