"""The command line in a process whose outgoing connections are refused and logged."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fork_server import ForkServer

_REPOSITORY = Path(__file__).resolve().parents[2]
_SUPPORT = Path(__file__).resolve().parent
_STATES = ("done", "cached", "failed", "skipped")
# For two cores.
_SMALL = (
    "image.size=32",
    "data.sample.patients=12",
    "data.split.test_share=0.25",
    "training.epochs=1",
    "tuning.trials=2",
    "tuning.epochs=1",
    "gate.minimum={}",
    "report.explanations=0",
)


@dataclass(frozen=True)
class Finished:
    """Result of a command."""

    code: int
    stdout: str
    stderr: str
    output: Path
    connections: list[str]  # refused addresses outside this machine

    def states(self) -> dict[str, str]:
        """Return the state of each node, as printed."""
        words = [line.split() for line in self.stdout.splitlines()]
        return {w[0]: w[1] for w in words if len(w) == 4 and w[1] in _STATES}


@dataclass(frozen=True)
class Knet:
    """The command line with settings small enough for a test."""

    output: Path
    server: ForkServer
    environment: dict[str, str]
    tree: Path = _REPOSITORY  # whose code runs
    settings: Sequence[str] = field(default=_SMALL)
    config: Path | None = None  # instead of the preset demo

    def run(
        self,
        *settings: str,
        data: Path | None = None,
        command: str = "run",
        fork: bool = True,
        before: str = "",
    ) -> Finished:
        """`knet run`, or another command, in a process.

        Args:
            settings: further settings, as `--set` has them.
            data: data folder.
            command: the command with its arguments.
            fork: whether the process has the libraries imported; a user's has not.
            before: code that the process runs first.
        """
        arguments = [*command.split(), *(["--data", str(data)] if data else [])]
        arguments += ["--config", str(self.config)] if self.config else []
        for setting in (f"output={self.output}", *self.settings, *settings):
            arguments += ["--set", setting]
        names = ("connections", "stdout", "stderr")
        log, stdout, stderr = (self.output.with_name(f"{self.output.name}.{name}") for name in names)
        log.write_text("", encoding="utf-8")
        with stdout.open("wb") as out, stderr.open("wb") as err:
            code = (self.server.run if fork else subprocess.run)(
                [
                    sys.executable,
                    "-c",
                    f"{before}\nfrom pipeline.commands.main import main; main()",
                    *arguments,
                ],
                env={**self.environment, "PYTHONPATH": f"{self.tree}:{_SUPPORT}", "CONNECT_LOG": str(log)},
                cwd=self.output.parent,
                stdout=out,
                stderr=err,
            ).returncode
        connections = log.read_text("utf-8").splitlines()
        return Finished(code, stdout.read_text("utf-8"), stderr.read_text("utf-8"), self.output, connections)


@pytest.fixture(scope="session")
def make_knet(
    fork_server: ForkServer, guarded_environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Knet]:
    """Makes a `Knet` with an output folder of its own."""
    return lambda **fields: Knet(
        tmp_path_factory.mktemp("knet") / "out", fork_server, guarded_environment, **fields
    )
