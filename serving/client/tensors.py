"""Reads the values of tensors on the wire, in row order."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeVar

_Value = TypeVar("_Value")


def texts(tensor: Any) -> list[str]:
    """Of a string tensor in UTF-8."""
    return [text.decode() for text in tensor.string_val]


def booleans(tensor: Any) -> tuple[bool, ...]:
    """Of a bool tensor; servers send them as booleans or as bytes."""
    return tuple(map(bool, tensor.tensor_content or tensor.bool_val))


def floats(tensor: Any) -> tuple[float, ...]:
    """Of a float32 tensor; servers send them as numbers or as little-endian bytes."""
    if tensor.tensor_content:
        return struct.unpack(f"<{len(tensor.tensor_content) // 4}f", tensor.tensor_content)
    return tuple(tensor.float_val)


def rows(values: Sequence[_Value], *, count: int) -> list[Sequence[_Value]]:
    """As many equal parts, one after the other."""
    width = len(values) // count
    return [values[start : start + width] for start in range(0, len(values), width)]
