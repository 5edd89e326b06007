"""The connection guard of the end-to-end tests refuses and logs connections."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONNECT = """
import socket
for address in ("203.0.113.1", "127.0.0.1", "localhost", "storage.example.org"):
    try:
        socket.create_connection((address, 9), timeout=5)
    except OSError as error:
        print(error)
"""


def test_connect_guard_refuses_and_logs_outside_addresses(guard: Path, tmp_path: Path) -> None:
    log = tmp_path / "connections"
    environment = {**os.environ, "LD_PRELOAD": str(guard), "CONNECT_LOG": str(log)}
    done = subprocess.run([sys.executable, "-c", CONNECT], env=environment, capture_output=True, check=True)
    assert b"unreachable" in done.stdout
    assert log.read_text("utf-8").split() == ["203.0.113.1", "storage.example.org"]
