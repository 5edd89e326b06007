"""Shows how far a long command is, in images."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn


@contextmanager
def images_bar(*, hidden: bool = False) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, where that is a terminal; call what is given with how many images are left."""
    console = Console(stderr=True)
    with Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        redirect_stdout=False,  # it may be a pipe
        disable=hidden or not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=None)

        def advance(left: int) -> None:
            total = bar.tasks[task].total
            bar.update(task, total=left + 1 if total is None else total, advance=1)

        yield advance
