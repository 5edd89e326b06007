"""Addresses of a server: their text, and sockets that listen on them."""

from __future__ import annotations

import socket

from knet.base.errors import UserError


def address_of(host: str, port: int) -> str:
    """Return "host:port", an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on a port; 0 picks a free one.

    Raises:
        UserError: the port is in use, or the host is not this machine's.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise port_in_use(address_of(host, port)) from error


def port_in_use(address: str) -> UserError:
    """The error of an address on which a server cannot listen."""
    return UserError(
        f"cannot listen on {address}: the port is in use, or the host is not this machine's; give another"
    )
