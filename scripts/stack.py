"""Which of the two stacks of libraries a machine can run (docs/decisions/0006-two-stacks.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple


class Stack(NamedTuple):
    """A set of libraries that go together: `requirements/<name>.lock`."""

    name: str
    tfx: str
    glibc: tuple[int, int]  # the oldest for which all its packages have wheels
    pythons: tuple[str, ...]  # best first


CURRENT = Stack("current", tfx="1.21", glibc=(2, 39), pythons=("3.13", "3.12", "3.11"))
COMPAT = Stack("compat", tfx="1.16", glibc=(2, 17), pythons=("3.10",))
STACKS = (CURRENT, COMPAT)


class Choice(NamedTuple):
    """A stack, the Python that runs it, and why it is this one."""

    stack: Stack
    python: str  # path of an interpreter
    reason: str


class NoStackError(Exception):
    """No stack can run here; the text says what to do."""


def choose(
    *,
    glibc: tuple[int, int] | None,
    architecture: str,
    find_python: Callable[[str], str | None],
    fetch_python: Callable[[str], str | None],
    only: str = "",
) -> Choice:
    """The newest stack that this machine can run.

    Args:
        glibc: the machine's version, None where it has another C library.
        architecture: as `uname -m` says.
        find_python: the path of this machine's interpreter of a version such as "3.13", or None.
        fetch_python: fetches one; None where that fails.
        only: the name of the stack to take whatever else could run; empty for any.

    Raises:
        NoStackError: none can run, or not the one named.
    """
    if glibc is None or architecture != "x86_64":
        raise NoStackError("TFX has packages for x86-64 Linux with glibc alone, and this machine is another")
    stacks = [stack for stack in STACKS if only in ("", stack.name)]
    if not stacks:
        raise NoStackError(f"STACK={only}: there are {' and '.join(stack.name for stack in STACKS)}")
    obstacles = []
    for stack in stacks:
        if glibc < stack.glibc:
            obstacles.append(f"{stack.name} needs glibc {_dotted(stack.glibc)}, here is {_dotted(glibc)}")
            continue
        found = (find_python(version) for version in stack.pythons)
        python = next(filter(None, found), None) or fetch_python(stack.pythons[0])
        if python:
            reason = "STACK asks for it" if only else "the newest that this machine can run"
            return Choice(stack, python, "; ".join(obstacles) or reason)
        obstacles.append(
            f"{stack.name} needs Python {' or '.join(stack.pythons)}: none is here, and fetching one failed"
        )
    raise NoStackError("; ".join(obstacles))


def machine_glibc() -> tuple[int, int] | None:
    """The glibc version of this machine, None where there is another C library."""
    try:
        name, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()
    except (ValueError, AttributeError):
        return None
    major, minor = version.split(".")[:2]
    return (int(major), int(minor)) if name == "glibc" else None


def _dotted(version: tuple[int, int]) -> str:
    return ".".join(map(str, version))
