"""The command line in a process whose outgoing connections are refused and logged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[2]
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
        return {w[0]: w[1] for w in words if len(w) == 4 and w[1] in ("done", "cached", "failed")}


@pytest.fixture(scope="session")
def guard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the compiled connection guard."""
    library = tmp_path_factory.mktemp("guard") / "connect_guard.so"
    source = Path(__file__).with_name("connect_guard.c")
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


@dataclass(frozen=True)
class Knet:
    """The command line with settings small enough for a test."""

    output: Path
    guard: Path
    tree: Path = _REPOSITORY  # with the code to run
    settings: Sequence[str] = field(default=_SMALL)
    config: Path | None = None  # instead of the preset demo

    def run(self, *settings: str, data: Path | None = None, command: str = "run") -> Finished:
        """Run `knet run`, or another command, in a new process."""
        arguments = [*command.split(), *(["--data", str(data)] if data else [])]
        arguments += ["--config", str(self.config)] if self.config else []
        for setting in (f"output={self.output}", *self.settings, *settings):
            arguments += ["--set", setting]
        log = self.guard.with_name(f"{self.output.name}.connections")
        log.write_text("", encoding="utf-8")
        # A local proxy would hide the address of a connection.
        environment = {
            name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
        }
        done = subprocess.run(
            [sys.executable, "-c", "from pipeline.commands.main import main; main()", *arguments],
            env={
                **environment,
                "PYTHONPATH": str(self.tree),
                "LD_PRELOAD": str(self.guard),
                "CONNECT_LOG": str(log),
            },
            cwd=self.output.parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        return Finished(
            done.returncode, done.stdout, done.stderr, self.output, log.read_text("utf-8").splitlines()
        )


@pytest.fixture(scope="session")
def make_knet(guard: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Knet]:
    """Factory of a `Knet` with a new output folder."""
    return lambda **fields: Knet(output=tmp_path_factory.mktemp("knet") / "out", guard=guard, **fields)
