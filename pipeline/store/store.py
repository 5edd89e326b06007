"""What every store offers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path


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
