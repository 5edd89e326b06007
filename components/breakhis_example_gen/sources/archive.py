"""What zip and tar archives have in common."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable
from pathlib import Path

from components.breakhis_example_gen.listing import printable
from pipeline.errors import UserError


def member_sizes(location: Path, members: Iterable[tuple[str, int]], *, prefix: str) -> dict[str, int]:
    """Bytes by name, sorted; of the members whose names start with a prefix, named without it.

    Raises:
        UserError: a name leads out of the archive, or stands there twice.
    """
    sizes: dict[str, int] = {}
    for raw, size in members:
        name = member_name(raw)
        if name.startswith("/") or ".." in name.replace("\\", "/").split("/"):
            raise UserError(f"{location} holds {printable(raw)}, a name that leads out of it; make it anew")
        if name in sizes:
            raise UserError(f"{location} holds {printable(raw)} twice; make it anew")
        sizes[name] = size
    return {
        name.removeprefix(prefix): size for name, size in sorted(sizes.items()) if name.startswith(prefix)
    }


def member_name(raw: str) -> str:
    """A member's name without the `./` that some tools put before it."""
    return posixpath.normpath(raw)


def damaged(location: Path, error: Exception) -> UserError:
    """What to say of an archive that cannot be listed."""
    return UserError(f"{location} cannot be read as an archive ({error}); fetch or make it anew")
