"""Lines in an append-only file a day."""

from __future__ import annotations

import errno
import os
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Final

from pipeline.errors import UserError

SUFFIX: Final = ".jsonl"


class DailyLines:
    """A folder with a file for each day, `2026-01-31.jsonl`; only its owner can read them.

    Several threads and processes may append: what is given at once is written by one call of the operating
    system, so no line is torn apart by another, and what was written is there when the process is killed. The
    one line that was just being written then, or when the disk was full, may be cut off. It is ended when the
    file is next opened, so that it spoils no other.
    """

    def __init__(self, folder: Path) -> None:
        """Makes the folder where it is missing.

        Raises:
            UserError: it cannot be made or written to.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"cannot make the folder {folder}: {error.strerror}; choose another") from None
        if not os.access(folder, os.W_OK | os.X_OK):
            raise UserError(f"cannot write into {folder}: permission denied; choose another folder")
        self._folder = folder
        self._lock = Lock()
        self._day = ""
        self._file = -1
        self._torn = False

    def append(self, text: str, *, time: datetime) -> None:
        """Appends whole lines to the file of a day.

        Args:
            text: that ends with the end of a line.
            time: UTC.

        Raises:
            OSError: they could not be written, or not whole.
        """
        with self._lock:
            self._open(time.strftime("%Y-%m-%d"))
            data = (b"\n" if self._torn else b"") + text.encode()
            written = os.write(self._file, data)
            self._torn = written < len(data)
            if self._torn:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._folder))

    def close(self) -> None:
        """Closes the file; appending opens it again."""
        with self._lock:
            self._close()

    def _open(self, day: str) -> None:
        if day == self._day and os.fstat(self._file).st_nlink:  # none: somebody removed the file
            return
        self._close()
        path = self._folder / f"{day}{SUFFIX}"
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._day = day
        size = os.fstat(self._file).st_size
        self._torn = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"

    def _close(self) -> None:
        if self._day:
            os.close(self._file)
        self._day = ""
