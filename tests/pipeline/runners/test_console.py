"""Console output of a run, and its log file."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from knet.base.progress import PROGRESS
from pipeline.runners.console import NodeDisplay, quiet_console, user_message

# Output by Python's streams, file descriptors, child processes and the console.
CHATTER = """
import os, subprocess, sys
from pathlib import Path
from pipeline.runners.console import quiet_console
print("python before")
with quiet_console(Path(sys.argv[1]), verbose=sys.argv[2:] == ["verbose"]) as console:
    print("python out")
    print("python err", file=sys.stderr)
    os.write(1, b"descriptor out\\n")
    os.write(2, b"descriptor err\\n")
    subprocess.run(["sh", "-c", "echo child out; echo child err >&2"], check=True)
    console.print("on the console: größe")
print("python after")
"""
LOGGED = {f"{source} {stream}" for source in ("python", "descriptor", "child") for stream in ("out", "err")}


def chatter(log: Path, *arguments: str) -> tuple[list[str], list[str]]:
    """Return the lines on standard output and error."""
    done = subprocess.run(
        [sys.executable, "-c", CHATTER, log, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines(), done.stderr.splitlines()


def test_quiet_console_logs_all_other_output(tmp_path: Path) -> None:
    log = tmp_path / "out" / "run.log"
    assert chatter(log) == (["python before", "on the console: größe", "python after"], [])
    assert set(log.read_text("utf-8").splitlines()) == LOGGED


def test_quiet_console_appends_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "run.log"
    log.write_text("an earlier run\n", encoding="utf-8")
    chatter(log)
    assert log.read_text("utf-8").startswith("an earlier run\n")
    assert len(log.read_text("utf-8").splitlines()) == 1 + len(LOGGED)


def test_quiet_console_verbose_redirects_nothing(tmp_path: Path) -> None:
    stdout, stderr = chatter(tmp_path / "run.log", "verbose")
    assert {*stdout, *stderr} == LOGGED | {"python before", "on the console: größe", "python after"}
    assert not (tmp_path / "run.log").exists()


def test_quiet_console_restores_descriptors_after_an_exception(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = os.fstat(1).st_ino, os.fstat(2).st_ino, len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(KeyboardInterrupt), quiet_console(tmp_path / "run.log", verbose=False):
        raise KeyboardInterrupt
    after = os.fstat(1).st_ino, os.fstat(2).st_ino, len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    assert after == before
    os.write(1, b"seen\n")
    assert capfd.readouterr().out == "seen\n"


def test_quiet_console_does_not_wrap_lines_of_a_pipe(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with quiet_console(tmp_path / "run.log", verbose=False) as console:
        console.print("x" * 150)
    assert capfd.readouterr().out == "x" * 150 + "\n"


def test_quiet_console_of_a_pipe_has_the_width_of_columns(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    with quiet_console(tmp_path / "run.log", verbose=False) as console:
        console.print("x" * 150)
    assert capfd.readouterr().out == f"{'x' * 100}\n{'x' * 50}\n"


@pytest.fixture
def plain() -> Console:
    """Console that is not a terminal."""
    return Console(file=io.StringIO(), width=160, force_terminal=False)


@pytest.fixture
def terminal() -> Console:
    return Console(file=io.StringIO(), width=160, force_terminal=True)


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def last_row(console: Console, node: str) -> str:
    """Return the last drawn row of a node."""
    return shown(console).rpartition(node)[2].partition("\n")[0]


def test_node_display_prints_a_line_per_ended_node(plain: Console) -> None:
    with NodeDisplay(plain, ["Transform", "Trainer-vgg16", "Pusher"]) as display:
        for node, state in (("Transform", "cached"), ("Trainer-vgg16", "failed")):
            display.started(node)
            display.ended(node, state)
    assert [line.split() for line in shown(plain).splitlines()] == [
        ["Transform", "cached", "0.0", "s"],
        ["Trainer-vgg16", "failed", "0.0", "s"],
    ]


def test_node_display_shows_the_duration_of_an_earlier_run(terminal: Console) -> None:
    with NodeDisplay(terminal, ["Transform", "Pusher"], expected={"Transform": 41.6}) as display:
        display.started("Transform")
        display._live.refresh()
        assert "of about 42 s" in last_row(terminal, "Transform")
        display.ended("Transform", "done")
        display.started("Pusher")
        display._live.refresh()
        assert "of about" not in last_row(terminal, "Pusher")


def test_node_display_measures_from_the_start_of_a_node(
    plain: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([100.0, 102.5])
    monkeypatch.setattr("pipeline.runners.console.time.monotonic", lambda: next(clock))
    with NodeDisplay(plain, ["Transform"]) as display:
        display.started("Transform")
        assert display.ended("Transform", "done") == 2.5
    assert shown(plain).split() == ["Transform", "done", "2.5", "s"]


@pytest.mark.parametrize(
    ("level", "text"), [(logging.INFO, "A: step [1/3] done\n"), (logging.DEBUG, "")], ids=["INFO", "DEBUG"]
)
def test_node_display_prints_info_messages_only(plain: Console, level: int, text: str) -> None:
    with NodeDisplay(plain, ["A"]) as display:
        display.started("A")
        logging.getLogger(PROGRESS).log(level, "step [%d/%d] done", 1, 3)
    assert shown(plain) == text


def test_node_display_on_a_terminal_lists_all_nodes(terminal: Console) -> None:
    with NodeDisplay(terminal, ["Transform", "Pusher"]) as display:
        display.started("Transform")
        display.ended("Transform", "done")
    assert "done" in last_row(terminal, "Transform")
    assert "waiting" in last_row(terminal, "Pusher")


def test_node_display_on_a_terminal_shows_progress_of_the_node(terminal: Console) -> None:
    with NodeDisplay(terminal, ["Tuner", "Pusher"]) as display:
        display.started("Tuner")
        logging.getLogger(PROGRESS).debug("batch %d of %d", 1, 3)
    assert "batch 1 of 3" in last_row(terminal, "Tuner")


def test_node_display_on_a_terminal_clears_progress_at_the_end(terminal: Console) -> None:
    with NodeDisplay(terminal, ["Tuner", "Pusher"]) as display:
        display.started("Tuner")
        logging.getLogger(PROGRESS).debug("batch 3 of 3")
        display.ended("Tuner", "done")
    assert "done" in last_row(terminal, "Tuner")
    assert "batch" not in last_row(terminal, "Tuner")


def test_node_display_does_not_interpret_markup(terminal: Console) -> None:
    with NodeDisplay(terminal, ["A"]) as display:
        display.started("A")
        logging.getLogger(PROGRESS).info("[old] %s", "[/old]")
    assert "[old] [/old]" in shown(terminal)


def test_node_display_is_detached_after_an_exception(plain: Console) -> None:
    with pytest.raises(KeyboardInterrupt), NodeDisplay(plain, ["A"]):
        raise KeyboardInterrupt
    logging.getLogger(PROGRESS).warning("not shown")
    assert shown(plain) == ""


_LINES = "unusable files:\n  a.png: no image\n  b.png: empty"


@pytest.mark.parametrize(
    "text",
    [
        f"Traceback (most recent call last):\n  File x\nknet.base.errors.UserError: {_LINES}\n",
        f"knet.base.errors.UserError: {_LINES} [while running 'Read images']\n\nTraceback (most recent",
        f"knet.base.errors.UserError: {_LINES}\n\nDuring handling of the above exception, another",
        f"knet.base.errors.UserError: {_LINES}\nTraceback (most recent call last):\n  File y",
    ],
)
def test_user_message_of_a_worker_has_all_its_lines(text: str) -> None:
    assert user_message(RuntimeError(text)) == _LINES


def test_user_message_of_another_error_is_none() -> None:
    assert user_message(RuntimeError("ValueError: a bug")) is None
