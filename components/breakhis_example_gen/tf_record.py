"""TFRecords without TensorFlow, which every Beam worker would take ten seconds to import."""

from __future__ import annotations

import struct

import google_crc32c


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
