"""Finds what grouping by patient cannot: one image under several patients, in several splits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from knet.base.errors import UserError
from knet.base.text import list_problems
from knet.data.source import ImageFile


def check_leaks(duplicates: Sequence[Sequence[dict[str, str]]], *, allowed: bool, where: Any) -> None:
    """Fails when images with the very same pixels are in more than one split.

    Args:
        duplicates: the `duplicates` of `ingest_report`.
        allowed: whether they are only reported.
        where: the data, as the user knows them.

    Raises:
        UserError: lists the first of them with their splits.
    """
    leaks = [group for group in duplicates if len({image["split"] for image in group}) > 1]
    if allowed or not leaks:
        return
    problems = [places(group) for group in leaks]
    raise UserError(
        list_problems(
            f"{len(leaks)} images of {where} are in several splits, under several patients", problems
        )
        + "\nleave one copy of each, or put its patients into one; "
        "data.allow_cross_split_duplicates=true only reports them"
    )


def places(group: Sequence[dict[str, str]]) -> str:
    """Where the copies of one image are: path, patient and split of each."""
    return ", ".join(f"{image['path']} ({image['patient']}, {image['split']})" for image in group)


def find_copies(folder: Path, images: Iterable[ImageFile], *, max_bytes: int = 2**30) -> list[str] | None:
    """One line for each set of equal files of different patients; only files of one size are read.

    Args:
        folder: that the images' paths are in.
        images: to compare; files that can be read.
        max_bytes: how much to read at most.

    Returns:
        The lines, or None where more would have to be read.
    """
    by_size: dict[int, list[ImageFile]] = defaultdict(list)
    for image in images:
        by_size[(folder / image.path).stat().st_size].append(image)
    to_read = {size: of_size for size, of_size in by_size.items() if _of_several_patients(of_size)}
    if sum(size * len(of_size) for size, of_size in to_read.items()) > max_bytes:
        return None
    by_content: dict[bytes, list[ImageFile]] = defaultdict(list)
    for image in chain.from_iterable(to_read.values()):
        by_content[hashlib.sha256((folder / image.path).read_bytes()).digest()].append(image)
    return sorted(
        f"the same file under several patients: {', '.join(image.path for image in same)}"
        for same in by_content.values()
        if _of_several_patients(same)
    )


def _of_several_patients(images: Collection[ImageFile]) -> bool:
    return len({image.patient for image in images}) > 1
