"""Console output of a run: one line per node; library logs go to a file."""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from knet.base.disk import disk_full
from knet.base.errors import UserError
from knet.base.output import open_output
from knet.base.progress import PROGRESS
from pipeline.runners.stop_signals import exit_on_stop_signals

_COLOURS = {
    "waiting": "dim",
    "running": "yellow",
    "done": "green",
    "cached": "cyan",
    "failed": "bold red",
    "skipped": "dim",
}


@contextmanager
def quiet_console(
    log_file: Path, *, verbose: bool, on_stop: Callable[[str], str] = lambda _: "stopped"
) -> Iterator[Console]:
    """Redirect standard output and error to a log file, and yield a console that still prints.

    SIGINT, SIGTERM and SIGHUP end the process with one line on standard error.

    Args:
        log_file: appended to; its folder is created.
        verbose: whether to redirect nothing.
        on_stop: called with the name of a signal that ends the process; returns that line.

    Raises:
        UserError: the log file cannot be written.
    """
    if verbose:
        console = _console(sys.stdout, live=False)  # library logs would tear a live table apart
        with exit_on_stop_signals(console, 2, on_stop):
            yield console
        return
    with output_in_log(log_file, remedy="choose another output folder") as (own, error):
        console = _console(own, live=own.isatty())
        with exit_on_stop_signals(console, error, on_stop):
            yield console


@contextmanager
def output_in_log(log_file: Path, *, remedy: str) -> Iterator[tuple[TextIO, int]]:
    """Redirect the process's standard output and error to a log file.

    File descriptors are redirected, since much of TensorFlow's and gRPC's output bypasses Python.

    Args:
        log_file: appended to; its folder is created.
        remedy: what to do if it cannot be written, for the error.

    Yields:
        The former standard output, and the descriptor of the former standard error.

    Raises:
        UserError: the log file cannot be written.
    """
    try:
        log_file.parent.mkdir(parents=True, exist_ok=True)
        log_file.touch()
    except OSError as error:
        raise UserError(f"cannot write {log_file}: {error.strerror}; {remedy}") from None
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with log_file.open("ab") as log, open_output(saved[0], encoding="utf-8") as own:
        try:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
            yield own, saved[1]
        finally:
            for stream in (own, sys.stdout, sys.stderr):
                stream.flush()
            for number, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)


def _console(file: TextIO, *, live: bool) -> Console:
    return Console(file=file, width=fixed_width(file), markup=False, force_terminal=live)


def fixed_width(file: TextIO) -> int | None:
    """Return the width of output that is no terminal, in characters; None where Rich finds it.

    Rich asks the terminal, or reads COLUMNS. Other output is wide enough for every table.
    """
    return None if file.isatty() or os.environ.get("COLUMNS", "").isdecimal() else 160


@dataclass
class _Row:
    state: str = "waiting"
    started: float = 0.0
    seconds: float = 0.0
    text: str = ""


class NodeDisplay(logging.Handler):
    """Live table of nodes on a terminal; elsewhere a line as each node ends.

    As a handler of the progress logger it also shows the messages of the running node.

    Example:
        with NodeDisplay(console, ["Transform", "Trainer"]) as display:
            display.started("Transform")
            display.ended("Transform", "done")
    """

    def __init__(
        self, console: Console, nodes: Sequence[str], *, expected: Mapping[str, float] | None = None
    ) -> None:
        """Initialize the display.

        Args:
            console: where it is shown.
            nodes: names in the order of the rows.
            expected: seconds that some nodes took in an earlier run, by node; shown while they run.
        """
        super().__init__(logging.DEBUG if console.is_terminal else logging.INFO)
        self._console = console
        self._expected = expected or {}
        self._rows = {node: _Row() for node in nodes}
        self._running: str | None = None
        self._live = Live(
            get_renderable=self._table,
            console=console,
            # Otherwise output of Python code would be shown here instead of in the log file.
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> NodeDisplay:
        logger = logging.getLogger(PROGRESS)
        logger.setLevel(logging.DEBUG)
        logger.propagate = False
        logger.addHandler(self)
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger(PROGRESS).removeHandler(self)
        if self._console.is_terminal:
            self._live.stop()

    def started(self, node: str) -> None:
        """Mark a node as running."""
        self._running = node
        self._rows[node] = _Row(state="running", started=time.monotonic())

    def ended(self, node: str, state: str) -> float:
        """Mark a node as `done`, `cached`, `failed` or `skipped`, and return its duration in seconds."""
        row = self._rows[node]
        row.state, row.seconds, row.text = state, time.monotonic() - row.started, ""
        self._running = None
        if not self._console.is_terminal:
            self._console.print(f"{node:<22} {state:<7} {row.seconds:7.1f} s", highlight=False)
        return row.seconds

    def emit(self, record: logging.LogRecord) -> None:
        """Show a progress message of the running node."""
        text = record.getMessage()
        if self._running is not None:
            self._rows[self._running].text = text
        if not self._console.is_terminal:
            self._console.print(f"{self._running or ''}: {text}", highlight=False, markup=False)

    def _table(self) -> Table:
        table = Table(box=None, show_header=False, padding=(0, 1))
        for node, row in self._rows.items():
            seconds = time.monotonic() - row.started if row.state == "running" else row.seconds
            clock = "" if row.state == "waiting" else f"{seconds:.1f} s"
            if row.state == "running" and node in self._expected:
                clock += f" of about {self._expected[node]:.0f} s"
            table.add_row(node, Text(row.state, _COLOURS[row.state]), clock, Text(row.text))
        return table


def user_message(error: Exception) -> str | None:
    """Return the message of an error that the user can fix, else None.

    It is a UserError, also one that Beam's workers passed on as text, or a full disk.
    """
    if message := disk_full(error):
        return message
    if isinstance(error, UserError):
        return re.sub(r" \[while running .*\]$", "", str(error))  # which Beam adds
    if match := _RELAYED.search(str(error)):
        return match[1]
    if match := _NO_CODE.search(str(error)):
        return (
            f"the Beam workers lack this software ({match[1]}): start them in the image of the same version, "
            "or install the wheels of `make wheels` where they run"
        )
    return None


_NO_CODE = re.compile(r"ModuleNotFoundError: (No module named '(?:knet|components|pipeline|schemas)\b[^']*')")
# Beam passes the traceback on as text. A message may have several lines, but no empty one.
_RELAYED = re.compile(
    rf"{UserError.__module__}\.{UserError.__name__}: (.+?)(?: \[while running|\n\n|\nTraceback |\s*\Z)", re.S
)
