"""Serves until the process is told to end."""

from __future__ import annotations

import signal
import threading

from serving.dev_server.dev_server import DevServer


def serve_until_stopped(server: DevServer) -> None:
    """Starts a server, and stops it with its grace when SIGTERM or SIGINT comes; in the main thread alone."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    with server:
        told.wait()
