"""Reads images back from ingested examples."""

from __future__ import annotations

import itertools
from pathlib import Path

from pipeline.ingested_examples import ingested_examples


def ingested_images(folder: Path, *, count: int) -> list[tuple[str, bytes]]:
    """Path and PNG or JPEG bytes of the first images of a split.

    Args:
        folder: of the split, as ExampleGen wrote it.
        count: how many, if there are as many.
    """
    return [(example.path, example.image) for example in itertools.islice(ingested_examples(folder), count)]
