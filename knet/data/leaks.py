"""Leaks that grouping by patient cannot prevent: one image under several patients."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path

from knet.base.errors import UserError
from knet.base.text import list_problems
from knet.data.source import ImageFile


def check_leaks(duplicates: Sequence[Sequence[dict[str, str]]], *, allowed: bool, location: object) -> None:
    """Check that no images with identical pixels are in different splits.

    Args:
        duplicates: The `duplicates` of `knet.data.ingest.ingest_report`.
        allowed: Whether to accept them (`data.allow_cross_split_duplicates`).
        location: Path of the data, for the message.

    Raises:
        UserError: Such images exist and are not allowed; the message lists the first of them.
    """
    leaks = [group for group in duplicates if len({image["split"] for image in group}) > 1]
    if allowed or not leaks:
        return
    raise UserError(
        list_problems(
            f"{len(leaks)} images of {location} are in several splits, under several patients",
            [format_duplicates(group) for group in leaks],
        )
        + "\nleave one copy of each, or put its patients into one; "
        "data.allow_cross_split_duplicates=true only reports them"
    )


def format_duplicates(group: Sequence[dict[str, str]]) -> str:
    """Format a group of duplicates in one line: path, patient and split of each."""
    return ", ".join(f"{image['path']} ({image['patient']}, {image['split']})" for image in group)


def find_duplicate_files(
    folder: Path, images: Iterable[ImageFile], *, max_bytes: int = 2**30
) -> list[str] | None:
    """Find identical files of different patients; only files of equal size are read.

    Args:
        folder: Folder that the paths of the images are relative to.
        images: Readable images.
        max_bytes: Limit of bytes to read.

    Returns:
        A line for each set of identical files, or None if finding them would exceed `max_bytes`.
    """
    images_by_size: dict[int, list[ImageFile]] = defaultdict(list)
    for image in images:
        images_by_size[(folder / image.path).stat().st_size].append(image)
    to_read = {size: group for size, group in images_by_size.items() if _of_several_patients(group)}
    if sum(size * len(group) for size, group in to_read.items()) > max_bytes:
        return None
    images_by_content: dict[bytes, list[ImageFile]] = defaultdict(list)
    for image in chain.from_iterable(to_read.values()):
        images_by_content[hashlib.sha256((folder / image.path).read_bytes()).digest()].append(image)
    return sorted(
        f"the same file under several patients: {', '.join(image.path for image in group)}"
        for group in images_by_content.values()
        if _of_several_patients(group)
    )


def _of_several_patients(images: Collection[ImageFile]) -> bool:
    return len({image.patient for image in images}) > 1
