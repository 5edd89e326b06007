"""TFRecord files without TensorFlow, whose import takes seconds in each Beam worker."""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import google_crc32c

from knet.base.errors import UserError


def tf_record(data: bytes) -> bytes:
    """Frame a record for a TFRecord file: length, its checksum, data, its checksum.

    Source: TensorFlow, tensorflow/core/lib/io/record_writer.h; numbers are little-endian.
    """
    length = struct.pack("<Q", len(data))
    return b"".join((length, record_checksum(length), data, record_checksum(data)))


def record_checksum(data: bytes) -> bytes:
    """Return the masked CRC-32C that TensorFlow stores beside data, 4 bytes."""
    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


_LENGTH, _CHECKSUM = 8, 4  # bytes


def read_tf_records(file: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file, which is compressed if its name ends in `.gz`.

    Raises:
        UserError: A checksum is wrong, or the file ends within a record.
    """
    content = _decompress(file) if file.suffix == ".gz" else file.read_bytes()
    start = 0
    while start < len(content):
        length, start = _checked(content, start, _LENGTH, file)
        record, start = _checked(content, start, struct.unpack("<Q", length)[0], file)
        yield record


def has_equal_records(file: Path, *, count: int) -> bool:
    """Return whether an uncompressed file has the size of some records, all as long as the first."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH), "little")
    return file.stat().st_size == count * (_LENGTH + _CHECKSUM + length + _CHECKSUM)


def _decompress(file: Path) -> bytes:
    try:
        return gzip.decompress(file.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{file} is damaged ({error}): run again into a new output folder") from None


def _checked(content: bytes, start: int, length: int, file: Path) -> tuple[bytes, int]:
    """Return the data at an offset, and the offset behind their checksum."""
    end = start + length + _CHECKSUM
    data = content[start : start + length]
    if end > len(content) or record_checksum(data) != content[start + length : end]:
        raise UserError(f"{file} is damaged at byte {start}: run again into a new output folder")
    return data, end
