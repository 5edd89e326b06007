"""How long work says where it stands: through one logger, which each runner shows in its own way."""

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

PROGRESS: Final = "knet.progress"  # DEBUG: within an epoch; INFO: an epoch done


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[str], Callable[[int, int | None], None]]]:
    """One bar a step: call what is given with the step's name, and the result with bytes done and in all.

    On a terminal the bars move; elsewhere they are printed once, as they are at the end.
    """
    columns = (TextColumn("{task.description:<9}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console) as bars:

        def step(name: str) -> Callable[[int, int | None], None]:
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(task, completed=done, total=total)

        yield step
