"""Spares imports the search for garbage."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def import_without_collecting() -> Iterator[None]:
    """Collects no garbage meanwhile: what is imported stays.

    Python would look through all that was imported so far again and again, for a second in all.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
