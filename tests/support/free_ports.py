"""Ports for servers that tests start."""

from __future__ import annotations

import contextlib
import socket


def free_ports(count: int) -> list[int]:
    """Return free ports, each followed by another free port."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            one, other = (held.enter_context(socket.socket()) for _ in range(2))
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            with contextlib.suppress(OSError, OverflowError):
                other.bind(("127.0.0.1", port + 1))
                found.append(port)
    return found
