"""Writes a file whole or not at all."""

from __future__ import annotations

import uuid
from pathlib import Path


def atomic_write(path: Path, content: str | bytes) -> None:
    """Makes the folder where it is missing; what was there before stays until all of the content is written.

    Others may write the same file at the same time, on other machines too: the later one stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    part.write_bytes(content.encode() if isinstance(content, str) else content)
    part.replace(path)
