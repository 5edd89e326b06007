"""How requests that wait are answered together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import UserError
from serving.config.messages import BatchingParameters
from serving.config.read_text_proto import read_text_proto


@dataclass(frozen=True)
class Batching:
    """TF Serving's batching parameters, with its defaults."""

    max_batch_size: int = 1000  # rows
    batch_timeout_micros: int = (
        0  # that the first request of a batch waits for others, while a thread is idle
    )
    max_enqueued_batches: int = 10
    num_batch_threads: int = 1
    allowed_batch_sizes: tuple[
        int, ...
    ] = ()  # to the next of which a batch is filled up; empty fills up none

    def padded(self, rows: int) -> int:
        """The rows of a batch that has been filled up."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read_batching(file: Path) -> Batching:
    """Reads a batching parameters file.

    Raises:
        UserError: it cannot be read, a number is out of range, or the allowed sizes do not rise to the
            maximum.
    """
    message = read_text_proto(file, BatchingParameters)
    names = ("max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "num_batch_threads")
    given = {name: getattr(message, name).value for name in names if message.HasField(name)}
    for name, value in given.items():
        least = 0 if name == "batch_timeout_micros" else 1
        if value < least:
            raise UserError(f"{file}: {name} must be at least {least}, not {value}")
    batching = Batching(**given, allowed_batch_sizes=tuple(message.allowed_batch_sizes))
    sizes = batching.allowed_batch_sizes
    if sizes and not (_rise(sizes) and sizes[0] > 0 and sizes[-1] == batching.max_batch_size):
        raise UserError(
            f"{file}: allowed_batch_sizes must rise, and end at max_batch_size {batching.max_batch_size}, "
            f"not be {', '.join(map(str, sizes))}"
        )
    return batching


def _rise(sizes: Iterable[int]) -> bool:
    sizes = list(sizes)
    return sizes == sorted(set(sizes))
