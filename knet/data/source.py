"""Sources of image files: the interface of folders, archives and object stores."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final


class Source(ABC):
    """Files by name, with forward slashes. Picklable; opens nothing until asked to."""

    location: Path  # absolute path of the folder or archive

    @abstractmethod
    def listing(self) -> Iterator[tuple[str, int]]:
        """Yield name and bytes of every file, sorted by name.

        Raises:
            UserError: The source cannot be listed, or holds a name or link that leads out of it.
        """

    def files(self) -> dict[str, int]:
        """Return the `listing`: bytes by name."""
        return dict(self.listing())

    def find(self, names: Iterable[str]) -> Iterator[tuple[str, int]]:
        """Yield name and bytes of those files that exist.

        Args:
            names: Names, sorted.

        Raises:
            UserError: As for `listing`.
        """
        listing = self.listing()
        listed, size = next(listing, _END)
        for name in names:
            while listed < name:
                listed, size = next(listing, _END)
            if listed == name:
                yield name, size

    def checksums(self) -> Iterator[tuple[str, str]]:
        """Yield name and checksum of every file that a listing has a checksum of, sorted by name."""
        yield from ()

    @abstractmethod
    def parts(self, names: Iterable[str]) -> Iterator[tuple[str, Path]]:
        """Yield the files that hold these contents, with a name: the files themselves, or the archive."""

    @abstractmethod
    def below(self, prefix: str) -> Source:
        """Return the source of the files whose names start with a prefix, named without it."""

    @abstractmethod
    def random_access(self, folder: Path) -> AbstractContextManager[RandomAccessSource]:
        """Make the files readable in any order.

        Args:
            folder: Folder for temporary files, if the source must be unpacked.
        """


_END: Final = (chr(sys.maxunicode), 0)  # behind every name


class RandomAccessSource(Source):
    """A source whose files can be read in any order, by several processes at once."""

    @abstractmethod
    def open(self) -> Reader:
        """Open the source, for one process."""

    @contextmanager
    def random_access(self, folder: Path) -> Iterator[RandomAccessSource]:
        """See Source; yields the source itself."""
        yield self


class Reader(ABC):
    """An open source; a context manager."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read a file.

        Raises:
            UnusableError: It cannot be read, or is larger than an image may be.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the source."""

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, order=True)
class ImageFile:
    """An image, as described by its name or by its row of a manifest."""

    path: str  # relative to the source, with forward slashes
    label: str  # class name
    patient: str  # group that is never divided; for BreaKHis the accession, such as 14-22549
    columns: tuple[tuple[str, str], ...] = ()  # further texts by name, such as ("magnification", "100X")

    def column(self, name: str) -> str:
        """Return the text of a column; raises KeyError if the image has none of that name."""
        return dict(self.columns)[name]
