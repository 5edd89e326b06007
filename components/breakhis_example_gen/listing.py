"""How a list of problems is told to a user."""

from __future__ import annotations

from collections.abc import Sequence

_LISTED = 10  # problems named in one message


def listing(heading: str, problems: Sequence[str]) -> str:
    """A heading, the first ten problems, a line each, and how many there are beyond."""
    more = [f"  and {len(problems) - _LISTED} more"] if len(problems) > _LISTED else []
    return "\n".join([f"{heading}:", *(f"  {printable(problem)}" for problem in problems[:_LISTED]), *more])


def counted(count: int, noun: str) -> str:
    """A count with its noun, such as 1 file and 2 files."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def printable(text: str) -> str:
    """Text in which whatever a terminal would not print is escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
