"""TFRecords without TensorFlow, which every Beam worker would take ten seconds to import."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

from knet.base.errors import UserError


def tf_record(data: bytes) -> bytes:
    """A record as it stands in a TFRecord file: length, data, and a checksum behind each.

    Source: TensorFlow, tensorflow/core/lib/io/record_writer.h; numbers are little-endian.
    """
    length = struct.pack("<Q", len(data))
    return b"".join((length, record_checksum(length), data, record_checksum(data)))


def record_checksum(data: bytes) -> bytes:
    """The masked CRC-32C, as TensorFlow stores it."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


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
