"""Reads TFRecords without TensorFlow."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from components.breakhis_example_gen.tf_record import record_checksum
from pipeline.errors import UserError

_LENGTH, _CHECKSUM = 8, 4  # bytes


def read_tf_records(file: Path) -> Iterator[bytes]:
    """The records of a file that is not compressed, as `tf_record` makes them.

    Raises:
        UserError: a checksum is wrong, or the file ends within a record.
    """
    content = file.read_bytes()
    start = 0
    while start < len(content):
        length, start = _checked(content, start, _LENGTH, file)
        record, start = _checked(content, start, struct.unpack("<Q", length)[0], file)
        yield record


def _checked(content: bytes, start: int, length: int, file: Path) -> tuple[bytes, int]:
    """What stands there, and where what follows begins."""
    middle, end = start + length, start + length + _CHECKSUM
    data = content[start:middle]
    if end > len(content) or record_checksum(data) != content[middle:end]:
        raise UserError(f"{file} is damaged at byte {start}: run again into a new output folder")
    return data, end
