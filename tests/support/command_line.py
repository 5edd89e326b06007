"""The command line of the tests, in this process or in one without some modules."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.commands import main

_REPOSITORY = Path(__file__).resolve().parents[2]
HEAVY = ("tensorflow", "tfx", "keras", "apache_beam")


@dataclass(frozen=True)
class Finished:
    """Result of a command."""

    code: int
    stdout: str
    stderr: str
    seconds: float  # of processor time


@pytest.fixture
def knet(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Runner of the command line in this process."""

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["knet", *map(str, arguments)])
        started = time.process_time()
        with pytest.raises(SystemExit) as caught:
            main.main()
        assert isinstance(caught.value.code, int)
        return Finished(caught.value.code, *capfd.readouterr(), time.process_time() - started)

    return run


def knet_without(modules: Sequence[str], *arguments: object) -> Finished:
    """Run the command line in a new process in which some modules cannot be imported."""
    without = f"import sys; sys.modules.update(dict.fromkeys({modules!r}))"
    code = f"{without}; from pipeline.commands.main import main; main()"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(_REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Finished(done.returncode, done.stdout, done.stderr, seconds)
