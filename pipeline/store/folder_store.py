"""A folder as a store."""

from __future__ import annotations

from pathlib import Path

from pipeline.store.store import Store
from pipeline.write_whole import write_whole


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
        write_whole(self._folder / name, content)

    def names(self, prefix: str) -> list[str]:
        """See Store; without what is still being written."""
        files = (path for path in (self._folder / prefix).rglob("[!.]*") if path.is_file())
        return sorted(path.relative_to(self._folder).as_posix() for path in files)
