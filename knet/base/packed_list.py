"""A list in compressed blocks, for the millions of names of a data set."""

from __future__ import annotations

import heapq
import itertools
import pickle
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar, overload

T = TypeVar("T")
_BLOCK: Final = 256  # items that are compressed together
_RUN: Final = 2**14  # items that are sorted in memory


class PackedList(Sequence[T]):
    """An append-only list whose items are pickled and compressed, 256 at a time.

    An image with its path, patient and columns takes tens of bytes in place of a thousand. Iterating is fast;
    an item by index unpacks its block, which is kept for the next one.
    """

    def __init__(self, items: Iterable[T] = ()) -> None:
        """Create a list of items that can be pickled."""
        self._blocks: list[bytes] = []
        self._rest: list[T] = []
        self._unpacked: tuple[int, list[T]] = (-1, [])  # index and items of a block
        for item in items:
            self.append(item)

    def append(self, item: T) -> None:
        """Add an item to the end."""
        self._rest.append(item)
        if len(self._rest) == _BLOCK:
            self._blocks.append(zlib.compress(pickle.dumps(self._rest, pickle.HIGHEST_PROTOCOL), 1))
            self._rest = []

    def __len__(self) -> int:
        return len(self._blocks) * _BLOCK + len(self._rest)

    def __iter__(self) -> Iterator[T]:
        for block in self._blocks:
            yield from pickle.loads(zlib.decompress(block))
        yield from self._rest

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> list[T]: ...

    def __getitem__(self, index: int | slice) -> T | list[T]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        block, place = divmod(range(len(self))[index], _BLOCK)
        if block == len(self._blocks):
            return self._rest[place]
        if self._unpacked[0] != block:
            self._unpacked = block, pickle.loads(zlib.decompress(self._blocks[block]))
        return self._unpacked[1][place]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(one == another for one, another in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # it is mutable

    def __repr__(self) -> str:
        items = ", ".join(map(repr, itertools.islice(self, 3)))
        return f"PackedList([{items}{', ...' if len(self) > 3 else ''}])"


def sort_packed(items: Iterable[T], *, key: Callable[[T], Any]) -> PackedList[T]:
    """Sort items by a key; 16,384 of them are in memory at a time, and the others packed. Stable."""
    remaining = iter(items)
    runs = []
    while run := list(itertools.islice(remaining, _RUN)):
        runs.append(PackedList(sorted(run, key=key)))
    return runs[0] if len(runs) == 1 else PackedList(heapq.merge(*runs, key=key))
