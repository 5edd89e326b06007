"""A folder of an object store as a source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from components.breakhis_example_gen.quarantine import MAX_BYTES, UnusableError, check_size
from components.breakhis_example_gen.sources.source import RandomAccessSource, Reader
from pipeline.store.object_store import ObjectStore
from pipeline.store.object_uri import object_uri


@dataclass(frozen=True)
class ObjectFolder(RandomAccessSource):
    """The objects below a URI, read by Beam's access to files."""

    location: Path  # the URI, as `object_uri` knows it
    prefix: str = ""

    @property
    def store(self) -> ObjectStore:
        """The part of the object store that names are relative to, but for the prefix."""
        uri = object_uri(self.location)
        assert uri is not None
        return ObjectStore(uri)

    def files(self) -> dict[str, int]:
        """See Source."""
        sizes = self.store.sizes(self.prefix)
        return {name.removeprefix(self.prefix): size for name, size in sizes.items()}

    def parts(self, names: Iterable[str]) -> dict[str, Path]:
        """The objects themselves; a name with a slash before it is below the location."""
        return {
            name: self.location / (name[1:] if name.startswith("/") else f"{self.prefix}{name}")
            for name in names
        }

    def below(self, prefix: str) -> ObjectFolder:
        """See Source."""
        return replace(self, prefix=self.prefix + prefix)

    def open(self) -> Reader:
        """Nothing needs to be opened."""
        return _ObjectReader(self.store, self.prefix)


@dataclass(frozen=True)
class _ObjectReader(Reader):
    store: ObjectStore
    prefix: str

    def read(self, name: str) -> bytes:
        try:
            content = self.store.read(self.prefix + name, at_most=MAX_BYTES + 1)
        except Exception as error:  # each server and library has kinds of its own
            raise UnusableError(f"cannot be read ({error})") from None
        if content is None:
            raise UnusableError("not there any more")
        check_size(len(content))
        return content

    def close(self) -> None:
        """Nothing was opened."""
