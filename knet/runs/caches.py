"""Cache files of runs: their content is computed again when needed, and `knet cache` removes unused ones."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from knet.base.storage import FileStat, Store, object_uri

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class CacheFile:
    """A file of a cache, or a folder that is removed whole.

    Attributes:
        kind: kind of content, such as feature maps.
        store: of the cache.
        name: in the store.
        files: names of its files in the store.
        size: in bytes.
        unused_days: time since the last use, in days.
    """

    kind: str
    store: Store
    name: str
    files: tuple[str, ...]
    size: int
    unused_days: float

    @property
    def location(self) -> str:
        """Path or URI."""
        location = self.store.location(self.name)
        return object_uri(location) or str(location)

    def remove(self) -> None:
        """Remove all files."""
        for file in self.files:
            self.store.remove(file)


def cache_files(caches: Mapping[str, Store]) -> list[CacheFile]:
    """Return the files of the caches, the most recently used last.

    A search is one entry, since it cannot be resumed without some of its files.

    Args:
        caches: by kind of content.
    """
    found = []
    for kind, store in caches.items():
        entries: dict[str, dict[str, FileStat]] = {}
        for file, stat in store.stats("").items():
            search = _SEARCH.match(file)
            entries.setdefault(search[0] if search else file, {})[file] = stat
        found += [
            _entry("search" if _SEARCH.match(name) else kind, store, name, stats)
            for name, stats in entries.items()
        ]
    return sorted(found, key=lambda file: -file.unused_days)


_SEARCH = re.compile("searches/[^/]+/[^/]+")  # folder of a search on a candidate


def folder_entry(kind: str, store: Store, name: str) -> CacheFile:
    """Return a folder of a store as one entry."""
    return _entry(kind, store, name, store.stats(f"{name}/"))


def _entry(kind: str, store: Store, name: str, stats: Mapping[str, FileStat]) -> CacheFile:
    now = time.time()
    used = max((stat.used for stat in stats.values()), default=now)
    size = sum(stat.size for stat in stats.values())
    return CacheFile(kind, store, name, tuple(stats), size, (now - used) / _DAY)


def remove_unused_files(caches: Mapping[str, Store], *, days: float) -> list[CacheFile]:
    """Remove entries that have not been used for some days, and return them.

    Args:
        caches: by kind of content.
        days: minimum time since the last use, longer than a training that runs; 0 removes all.
    """
    old = [file for file in cache_files(caches) if file.unused_days >= days]
    for file in old:
        file.remove()
    return old
