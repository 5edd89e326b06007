"""Small state files: atomic writes, and reads that name a damaged file."""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from knet.base.errors import UserError

TEMPORARY: Final = ".tmp"  # suffix of files that are being written; their names begin with a dot
_MAX_AGE: Final = 24 * 60 * 60  # seconds; no write lasts longer


def check_regular(path: Path) -> None:
    """Check that a path is not a device or a pipe: replacing one breaks it, reading one may never end.

    Raises:
        OSError: It is one.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise OSError(errno.EINVAL, "Not a regular file", str(path))


def atomic_write(
    path: Path, content: str | bytes | Callable[[Path], object], *, mode: int | None = None
) -> None:
    """Write a file under a temporary name beside it, flush it to the disk, then rename it.

    Missing parent folders are created. Several processes and machines may write the same file at the same
    time: the last one to finish wins. When the write fails, the former file stays and nothing else is left.

    Args:
        path: File to create or replace.
        content: Text, written as UTF-8; bytes; or a function that writes the content to the path it is given.
        mode: Permission bits, such as `0o600`; until the file is complete only its owner can read it.
            Default: those that the process's umask leaves.

    Raises:
        OSError: The file cannot be written, or is a device or a pipe.
    """
    check_regular(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{TEMPORARY}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if callable(content):
                content(temporary)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary.chmod(mode)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_json(file: Path, *, remedy: str) -> Any:
    """Return the content of a JSON file, or None if there is no such file.

    Args:
        file: File to read.
        remedy: End of the error message, such as `delete it`.

    Raises:
        UserError: The file cannot be read, or is not JSON.
    """
    try:
        return parse_json(file.read_bytes(), file, remedy=remedy)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}); {remedy}") from None


def parse_json(content: bytes, file: Path | str, *, remedy: str) -> Any:
    """Return the content of a JSON file that was read already.

    Args:
        content: Content of the file.
        file: Its name for the error message.
        remedy: End of the error message.

    Raises:
        UserError: The content is not JSON.
    """
    try:
        return json.loads(content)
    except ValueError as error:
        reason = "it is empty" if not content.strip() else str(error)
        raise UserError(f"{file}: damaged ({reason}); {remedy}") from None


def remove_abandoned(folder: Path) -> None:
    """Delete the temporary files that killed processes left in a folder more than a day ago."""
    for file in folder.glob(f"*{TEMPORARY}"):
        try:
            if time.time() - file.stat().st_mtime > _MAX_AGE:
                file.unlink()
        except FileNotFoundError:  # another process was faster
            continue


def remove_path(path: Path) -> None:
    """Delete a file or folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
