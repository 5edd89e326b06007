"""Tells what lies in an object store from what lies on a disk."""

from __future__ import annotations

import re
from pathlib import Path

_URI = re.compile(r"(s3|gs):/{1,2}(?=[^/])")


def object_uri(location: Path | str) -> str | None:
    """The URI of what lies in an object store, without a slash at its end; None for a path on a disk.

    A Path makes one slash of the two in `s3://bucket`; they are put back.
    """
    text = str(location)
    match = _URI.match(text)
    return f"{match[1]}://{text[match.end() :].rstrip('/')}" if match else None
