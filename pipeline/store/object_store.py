"""A bucket, or a part of one, as a store, by Beam's access to files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipeline.errors import UserError
from pipeline.store.store import Store


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
