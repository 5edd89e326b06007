"""Keeps others from changing the versions meanwhile."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_FILE = ".lock"


@contextmanager
def locked(base_path: Path) -> Iterator[None]:
    """Waits until no other process, or thread, changes the versions in a folder."""
    with (base_path / _FILE).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
