"""Files that operating systems, file managers and network drives leave between a user's files."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

_FILES: Final = {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
_ZONE: Final = ":zone.identifier"  # behind the name of a file that Windows calls downloaded
_FOLDERS: Final = {
    "__macosx",
    "@eadir",
    "#recycle",
    "$recycle.bin",
    "system volume information",
    "lost+found",
}


def is_system_file(name: str) -> bool:
    """Return whether a file is hidden, is such a file, or is in such a folder; in any case of letters.

    Args:
        name: Path with forward slashes, relative to the folder of the user's files.
    """
    *folders, file = PurePosixPath(name.lower()).parts
    return (
        file in _FILES
        or file.endswith(_ZONE)
        or not _FOLDERS.isdisjoint(folders)
        or any(p.startswith(".") for p in (*folders, file))
    )
