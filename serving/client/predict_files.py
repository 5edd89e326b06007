"""Asks about files, and keeps what is known of them beside the answers."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from serving.client.bad_image import BadImage
from serving.client.client import Client
from serving.client.file_answer import FileAnswer, file_name
from serving.client.read_image import read_image


def predict_files(client: Client, files: Iterable[Path]) -> Iterator[FileAnswer]:
    """An answer a file, in their order; however many there are, few are held in memory.

    Raises what the client raises; a file that cannot be read or is refused does not end it.
    """
    asked: deque[tuple[str, str]] = deque()

    def images() -> Iterator[bytes | BadImage]:
        for file in files:
            image = read_image(file)
            asked.append((file_name(file), digest(image)))
            yield image

    for answer in client.predict_each(images()):
        yield FileAnswer(*asked.popleft(), answer)


def digest(image: bytes | BadImage) -> str:
    """The SHA-256 of what a file holds; empty where it cannot be read."""
    return "" if isinstance(image, BadImage) else hashlib.sha256(image).hexdigest()
