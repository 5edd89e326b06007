"""Keeps the images that a served model is asked about, where that is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from threading import get_ident

_PNG = b"\x89PNG"


def keep_image(folder: Path, content: bytes, *, sha256: str) -> Path:
    """Writes an image once, whole or not at all, under its hash; only its owner can read it."""
    path = folder / f"{sha256}{'.png' if content.startswith(_PNG) else '.jpg'}"
    if not path.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
        part.replace(path)
    return path
