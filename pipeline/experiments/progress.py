"""Progress of an experiment: number of the step, and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from rich.console import Console

from knet.base.text import format_duration

_Step = TypeVar("_Step")


def with_progress(
    steps: Sequence[_Step],
    trainings: Sequence[Mapping[str, Any]],
    console: Console,
    *,
    title: Callable[[_Step], str],
) -> Iterator[_Step]:
    """Yield each step, and show its number, its title and the time that is left.

    The time is estimated from the steps that trained something.

    Args:
        steps: the steps, in order.
        trainings: rows that the caller adds while a step runs, with whether the training was `cached`.
        console: to show progress on.
        title: returns the title of a step.
    """
    durations: list[float] = []
    for number, step in enumerate(steps):
        left = ""
        if durations:
            seconds = sum(durations) / len(durations) * (len(steps) - number)
            left = f", about {format_duration(seconds)} left"
        console.print(f"{number + 1} of {len(steps)}: {title(step)}{left}", highlight=False)
        start, known = time.monotonic(), len(trainings)
        yield step
        if not all(row["cached"] for row in trainings[known:]):
            durations.append(time.monotonic() - start)
