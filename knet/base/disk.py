"""A full disk: errors that say so, and a check before a large copy."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from knet.base.errors import UserError
from knet.base.text import format_bytes

_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
# In texts of TensorFlow, Beam and SQLite, which pass no errno on.
_SIGNS = ("No space left on device", "Disk quota exceeded", "database or disk is full")
_PATH = re.compile(r"(?:'|(?<=[\s:]))(/[^\s':;]+)")
_REMEDY = "free space there, or set output to a folder on another disk"


def disk_full(error: BaseException, *, folder: Path | None = None) -> str | None:
    """Return which disk is full, and the remedy, if an error or its cause says so; else None.

    Args:
        error: of Python, TensorFlow, Beam or SQLite.
        folder: on the disk, if the error names no path. Default: the current folder.
    """
    for one in _chain(error):
        if isinstance(one, OSError) and one.errno in _ERRNOS:
            return _problem(Path(one.filename) if isinstance(one.filename, str) else folder)
        if any(sign in str(one) for sign in _SIGNS):
            found = _PATH.search(str(one))
            return _problem(Path(found[1]) if found else folder)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    seen: list[BaseException] = []
    while error not in seen:
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__ or error


def _problem(path: Path | None) -> str:
    path = path or Path.cwd()
    usage = shutil.disk_usage(_existing(path))
    space = f"{format_bytes(usage.free)} of {format_bytes(usage.total)}"
    return f"{path}: the disk is full ({space} left); {_REMEDY}"


def _existing(path: Path) -> Path:
    """Return a path or the nearest folder above it that exists."""
    return next((place for place in (path, *path.absolute().parents) if place.exists()), Path("/"))


def require_space(folder: Path, needed: int, *, content: str) -> None:
    """Check that a copy fits on a disk.

    Args:
        folder: destination, which may not exist yet.
        needed: bytes.
        content: noun phrase for what is copied.

    Raises:
        UserError: the disk has less space left.
    """
    free = shutil.disk_usage(_existing(folder)).free
    if free < needed:
        raise UserError(
            f"{folder}: no space for {content} ({format_bytes(needed)} needed, {format_bytes(free)} left); "
            f"{_REMEDY}"
        )
