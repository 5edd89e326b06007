"""A MariaDB server with a database for MLMD."""

from __future__ import annotations

import getpass
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

_SECONDS = 60  # until it must accept connections


@dataclass(frozen=True)
class MariaDB:
    """Port, databases and account of a server."""

    port: int
    databases: tuple[str, ...]  # empty
    user: str = "knet"
    password: str = "not-to-be-seen-4711"

    def settings(self, database: str) -> tuple[str, ...]:
        """Return overrides of `metadata` for a database."""
        fields = {"host": "127.0.0.1", "port": self.port, "database": database, "user": self.user}
        return tuple(f"metadata.{name}={value}" for name, value in fields.items())


@pytest.fixture(scope="session")
def mariadb(
    tmp_path_factory: pytest.TempPathFactory, debian_program: Callable[..., Path]
) -> Iterator[MariaDB]:
    """A server on the loopback interface; the test is skipped if MariaDB is not installed."""
    install, program = (
        debian_program(name, package="mariadb-server") for name in ("mariadb-install-db", "mariadbd")
    )
    folder = tmp_path_factory.mktemp("mariadb")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        server = MariaDB(port=free.getsockname()[1], databases=("opened", "raced", "shared"))
    account = f"'{server.user}'@'127.0.0.1'"
    statements = [
        f"CREATE USER {account} IDENTIFIED BY '{server.password}'",
        *(f"CREATE DATABASE {name}" for name in server.databases),
        *(f"GRANT ALL ON {name}.* TO {account}" for name in server.databases),
    ]
    (folder / "init.sql").write_text("".join(f"{statement};\n" for statement in statements))
    options = ["--no-defaults", f"--datadir={folder / 'data'}", f"--user={getpass.getuser()}"]
    first = ["--auth-root-authentication-method=normal", "--skip-test-db"]
    subprocess.run([install, *options, *first], check=True, capture_output=True)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                program,
                *options,
                f"--socket={folder / 'socket'}",
                f"--port={server.port}",
                "--bind-address=127.0.0.1",
                f"--init-file={folder / 'init.sql'}",
            ],
            stderr=log,
        )
    try:
        _wait(process, server.port, folder / "log")
        yield server
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(_SECONDS * 10):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert process.poll() is None, log.read_text("utf-8", errors="replace")
            time.sleep(0.1)
    pytest.fail(f"MariaDB did not start in {_SECONDS} s: {log.read_text('utf-8', errors='replace')}")
