"""Refuses the damaged JPEGs that Pillow decodes and TensorFlow, and so a served model, does not."""

from __future__ import annotations

import re
from typing import Final

from components.breakhis_example_gen.quarantine import UnusableError

_END: Final = 0xD9
_SCAN: Final = 0xDA
_WITHOUT_LENGTH: Final = (0x01, *range(0xD0, 0xD9))
_MARKER: Final = re.compile(rb"\xff+([^\x00\xff])", re.S)
# Amid the pixels of a scan, 0xFF stands before 0x00 and before restart markers; before any other, they end.
_SCAN_ENDS: Final = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.S)


def check_jpeg(content: bytes) -> None:
    """Follows the markers of a JPEG file to the last one, as TensorFlow does.

    Both decode with libjpeg-turbo, and pad pixels that are missing before a stray marker. But Pillow is done
    when it has every row, and TensorFlow reads on to the end. Bytes behind that disturb neither.

    Args:
        content: a file that Pillow decodes.

    Raises:
        UnusableError: a segment is damaged or cut off, or the last marker is missing.
    """
    position = 2  # behind the first marker
    while marker := _MARKER.match(content, position):
        kind = marker[1][0]
        if kind == _END:
            return
        length = int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        position = marker.end() + length
        if kind in _WITHOUT_LENGTH or length < 2 or position > len(content):
            break
        if kind == _SCAN:
            end = _SCAN_ENDS.search(content, position)
            position = end.start() if end else len(content)
    raise UnusableError("truncated or damaged (a served model could not decode it)")
