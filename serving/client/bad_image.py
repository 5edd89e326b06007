"""What stands in place of an answer where there can be none."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class BadImage:
    """An image that cannot be read or that the server refused; the rest of its request was answered."""

    reason: str
