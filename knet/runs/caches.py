"""Cache files of runs: their content is computed again when needed, and `knet cache` removes unused ones."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from knet.base.storage import Store, object_uri

_DAY = 24 * 60 * 60


@dataclass(frozen=True)
class CacheFile:
    """A file of a cache.

    Attributes:
        kind: kind of content, such as feature maps.
        store: of the cache.
        name: in the store.
        size: in bytes.
        unused_days: time since the last use, in days.
    """

    kind: str
    store: Store
    name: str
    size: int
    unused_days: float

    @property
    def location(self) -> str:
        """Path or URI of the file."""
        location = self.store.location(self.name)
        return object_uri(location) or str(location)


def cache_files(caches: Mapping[str, Store]) -> list[CacheFile]:
    """Return the files of the caches, the most recently used last.

    Args:
        caches: by kind of content.
    """
    now = time.time()
    found = [
        CacheFile(kind, store, name, stat.size, (now - stat.used) / _DAY)
        for kind, store in caches.items()
        for name, stat in store.stats("").items()
    ]
    return sorted(found, key=lambda file: -file.unused_days)


def remove_unused_files(caches: Mapping[str, Store], *, days: float) -> list[CacheFile]:
    """Remove files that have not been used for some days, and return them.

    Args:
        caches: by kind of content.
        days: minimum time since the last use, longer than a training that runs; 0 removes all.
    """
    old = [file for file in cache_files(caches) if file.unused_days >= days]
    for file in old:
        file.store.remove(file.name)
    return old
