"""Progress of long operations: the logger that runners show, and a progress bar for downloads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

PROGRESS: Final = "knet.progress"  # logger name; DEBUG: within an epoch, INFO: an epoch is complete


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str], Callable[[int, int | None], None]]]:
    """Show a progress bar in bytes for each step of an operation.

    On a terminal the bars move; elsewhere their final state is printed once.

    Args:
        console: Console to print on.

    Yields:
        A function that adds a bar, given the step's name. It returns the function that updates the bar, given
        the bytes done and the bytes in total (None: unknown).
    """
    columns = (TextColumn("{task.description:<9}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:

        def step(name: str) -> Callable[[int, int | None], None]:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield step
