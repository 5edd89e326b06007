"""A process that has imported TFX and runs Python commands in forks, which are spared 20 s of CPU each.

It imports none of our code, so that a fork runs the code on the path that its environment names.
"""

from __future__ import annotations

import json
import os
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import IO, Any

_LIBRARIES = ("tfx.v1", "tensorflow_model_analysis", "keras_tuner", "tensorflow_serving.apis")
_SECONDS = 1200  # after which a command that hangs is killed
_MESSAGE_BYTES = 1 << 20


class ForkServer:
    """The process, and its end of a connection to it."""

    def __init__(self, env: dict[str, str]) -> None:
        """Start the process, which imports the libraries while this one works.

        Args:
            env: environment of the imports.
        """
        self._connection, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _MESSAGE_BYTES)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, __file__], env=env, stdin=other.fileno(), stdout=subprocess.DEVNULL
            )

    def run(
        self,
        command: Sequence[str],
        *,
        env: Mapping[str, str],
        stdout: IO[Any],
        stderr: IO[Any] | int,
        cwd: Path | None = None,
        check: bool = False,
    ) -> subprocess.CompletedProcess[bytes]:
        """Run a Python command, with `-c` or `-m`, as `subprocess.run` does."""
        message = {"arguments": command[1:], "env": dict(env), "cwd": str(cwd or Path.cwd())}
        files = [stdout.fileno(), stdout.fileno() if isinstance(stderr, int) else stderr.fileno()]
        socket.send_fds(self._connection, [json.dumps(message).encode()], files)
        reply = self._connection.recv(_MESSAGE_BYTES)
        assert reply, "the fork server ended"
        done: subprocess.CompletedProcess[bytes] = subprocess.CompletedProcess(command, int(reply))
        if check:
            done.check_returncode()
        return done

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        self._connection.close()


def _serve(connection: socket.socket) -> None:
    os.environ["TF_USE_LEGACY_KERAS"] = "0"
    for library in _LIBRARIES:
        import_module(library)
    loaded = {name.partition(".")[0] for name in sys.modules}
    assert not loaded & {"knet", "components", "pipeline", "schemas"}, "forks would run the code of this tree"
    while True:
        message, files, _, _ = socket.recv_fds(connection, _MESSAGE_BYTES, 2)
        if not message:
            return
        if process := os.fork():
            for file in files:
                os.close(file)
            connection.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]))
        else:
            connection.close()
            for descriptor, file in zip((1, 2), files, strict=True):
                os.dup2(file, descriptor)
            signal.alarm(_SECONDS)
            _run(**json.loads(message))
            sys.exit()


def _run(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.path[:0] = ["", *env.get("PYTHONPATH", "").split(os.pathsep)]
    option, code, *rest = arguments
    sys.argv = [option, *rest]
    if option == "-m":
        runpy.run_module(code, run_name="__main__", alter_sys=True)
    else:
        assert option == "-c", arguments
        sys.modules["__main__"] = main = ModuleType("__main__")
        exec(code, vars(main))


if __name__ == "__main__":
    sys.path.remove(str(Path(__file__).resolve().parent))
    _connection = socket.socket(fileno=os.dup(0))
    os.dup2(1, 0)  # nothing
    _serve(_connection)
