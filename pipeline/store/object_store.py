"""A bucket, or a part of one, as a store, by Beam's access to files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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

    def read(self, name: str) -> bytes | None:
        """See Store."""
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        uri = f"{self._uri}/{name}"
        with _explained(uri):
            if not FileSystems.exists(uri):
                return None
            with FileSystems.open(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file:
                content: bytes = file.read()
                return content

    def write(self, name: str, content: bytes) -> None:
        """See Store."""
        from apache_beam.io.filesystem import CompressionTypes
        from apache_beam.io.filesystems import FileSystems

        uri = f"{self._uri}/{name}"
        with (
            _explained(uri),
            FileSystems.create(uri, compression_type=CompressionTypes.UNCOMPRESSED) as file,
        ):
            file.write(content)

    def names(self, prefix: str) -> list[str]:
        """See Store."""
        return list(self.sizes(prefix))

    def sizes(self, prefix: str) -> dict[str, int]:
        """Bytes by name, of the names that begin so, sorted."""
        from apache_beam.io.filesystems import FileSystems

        with _explained(f"{self._uri}/{prefix}"):
            (matched,) = FileSystems.match([f"{self._uri}/{prefix}**"])
        start = len(f"{self._uri}/")
        sizes = {found.path[start:]: found.size_in_bytes for found in matched.metadata_list}
        # Some tools mark a folder by an empty object.
        return {name: sizes[name] for name in sorted(sizes) if not name.endswith("/")}


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
