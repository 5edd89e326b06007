"""What every source offers: files by name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType


class Source(ABC):
    """Files by name, with forward slashes; it opens nothing before it is asked to, and can be pickled."""

    location: Path  # of the folder or archive, absolute

    @abstractmethod
    def files(self) -> dict[str, int]:
        """Bytes of every file by name, sorted by name.

        Raises:
            UserError: the source cannot be listed, or holds a name or link that leads out of it.
        """

    def find(self, names: Iterable[str]) -> dict[str, int]:
        """Bytes of those of the names that are files of the source.

        Raises:
            UserError: as `files`.
        """
        files = self.files()
        return {name: files[name] for name in names if name in files}

    @abstractmethod
    def parts(self, names: Iterable[str]) -> dict[str, Path]:
        """The files on disk in which the contents of these names stand, by what to call them."""

    @abstractmethod
    def below(self, prefix: str) -> Source:
        """The files whose names start with a prefix, named without it."""

    @abstractmethod
    def random_access(self, folder: Path) -> AbstractContextManager[RandomAccessSource]:
        """The same files, readable in any order; what must be unpacked for that lies in `folder`."""


class RandomAccessSource(Source):
    """A source whose files can be read in any order, by several processes at a time."""

    @abstractmethod
    def open(self) -> Reader:
        """Opens it, for one process."""

    @contextmanager
    def random_access(self, folder: Path) -> Iterator[RandomAccessSource]:
        """Itself."""
        yield self


class Reader(ABC):
    """An open source; a context manager."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """The content of a file.

        Raises:
            UnusableError: it cannot be read, or is larger than an image may be.
        """

    @abstractmethod
    def close(self) -> None:
        """Closes it."""

    def __enter__(self) -> Reader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@dataclass(frozen=True, order=True)
class ImageFile:
    """One image: what its name, or its row of a manifest, says of it."""

    path: str  # in the source, with forward slashes
    label: str  # the name of its class
    patient: str  # the group that is never split; for BreaKHis the accession, such as 14-22549
    columns: tuple[tuple[str, str], ...] = ()  # further texts by name, such as ("magnification", "100X")

    def column(self, name: str) -> str:
        """The text of a column; raises KeyError where there is none of that name."""
        return dict(self.columns)[name]
