"""Stop signals: Ctrl-C, SIGTERM and SIGHUP end a command in one line, whatever its threads do.

Beam runs nodes in threads, which no exception in the main thread ends. So the process writes what has to be
written, kills its children and exits. That is as safe as any kill: all state is written atomically.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from rich.console import Console

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_END: Final = b"\0"  # no signal has this number


@contextmanager
def exit_on_stop_signals(console: Console, error: int, on_stop: Callable[[str], str]) -> Iterator[None]:
    """End the process on SIGINT, SIGTERM and SIGHUP, with exit code 128 and the number of the signal.

    Outside the main thread nothing is done. SIGHUP stays ignored below `nohup`.

    Args:
        console: may show a live table.
        error: descriptor that receives the message.
        on_stop: called with the name of the signal; returns the message.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # The interpreter writes the number of a signal at once; a handler would wait for the main thread.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    thread = threading.Thread(target=_wait, args=(reader, console, error, on_stop), daemon=True)
    thread.start()
    handlers = {
        number: signal.signal(number, lambda *_: None)
        for number in _SIGNALS
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }
    former = signal.set_wakeup_fd(writer)
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.write(writer, _END)
        thread.join()
        os.close(reader)
        os.close(writer)


def _wait(reader: int, console: Console, error: int, on_stop: Callable[[str], str]) -> None:
    while (number := os.read(reader, 1)) != _END:
        if number[0] in _SIGNALS:
            _exit(signal.Signals(number[0]), console, error, on_stop)


def _exit(number: signal.Signals, console: Console, error: int, on_stop: Callable[[str], str]) -> None:
    try:
        _kill_children()
        try:
            message = on_stop(number.name)
        except Exception as problem:  # such as a full disk
            message = f"stopped, but the run could not be recorded as interrupted: {problem}"
        if console.is_terminal:
            console.line()
            console.show_cursor()
        os.write(error, f"{message}\n".encode())
    finally:
        os._exit(128 + number)


def _kill_children() -> None:
    """Kill the child processes of this process, and theirs."""
    parents: dict[int, int] = {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            parents[int(file.parent.name)] = int(
                file.read_text(errors="replace").rpartition(")")[2].split()[1]
            )
    found = [os.getpid()]
    for parent in found:
        found += [child for child, its_parent in parents.items() if its_parent == parent]
    for child in found[1:]:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
