"""Ctrl-C and SIGTERM end a process in one line."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
# A thread that nothing stops, a child that ignores signals, and a main thread that swallows exceptions.
BUSY = """
import signal, subprocess, sys, threading, time
from pathlib import Path
from pipeline.runners.console import quiet_console
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # as outside nohup
def forever():
    while True:
        time.sleep(0.01)
def stop(name):
    if sys.argv[3:]:
        raise OSError("disk full")
    return f"stopped by {name}"
with quiet_console(Path(sys.argv[1]), verbose=sys.argv[2] == "verbose", on_stop=stop):
    threading.Thread(target=forever).start()
    ignore = "import signal, time; signal.signal(15, signal.SIG_IGN); signal.signal(2, signal.SIG_IGN)"
    child = subprocess.Popen([sys.executable, "-c", f"{ignore}; print('up', flush=True); time.sleep(600)"],
                             stdout=subprocess.PIPE)
    child.stdout.readline()
    Path(sys.argv[1]).with_name("child").write_text(str(child.pid))
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass
"""


def stop(folder: Path, number: signal.Signals, *arguments: str) -> tuple[int, str, str]:
    """Return exit code, standard output and standard error of a process that gets a signal."""
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY, folder / "run.log", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not (folder / "child").is_file() or not (folder / "child").read_text():
            assert process.poll() is None, process.communicate()
        process.send_signal(number)
        output, error = process.communicate(timeout=30)
    finally:
        process.kill()
    _wait_for_the_end_of(Path("/proc", (folder / "child").read_text(), "stat"))
    return process.returncode, output, error


def _wait_for_the_end_of(process: Path) -> None:
    """Wait until a killed process is gone or a zombie, which takes the kernel a moment."""
    deadline = time.monotonic() + 60
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while ") Z " not in process.read_text():
            assert time.monotonic() < deadline, "the child still runs"
            time.sleep(0.01)


@pytest.mark.parametrize("output", ["quiet", "verbose"])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_stop_signal_ends_in_one_line(tmp_path: Path, number: signal.Signals, code: int, output: str) -> None:
    assert stop(tmp_path, number, output) == (code, "", f"stopped by {number.name}\n")


def test_stop_signal_exits_even_if_the_record_fails(tmp_path: Path) -> None:
    code, _, error = stop(tmp_path, signal.SIGINT, "quiet", "full")
    assert code == 130
    assert error == "stopped, but the run could not be recorded as interrupted: disk full\n"
