"""Finds what grouping by patient cannot: one image under several patients, in several splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.breakhis_example_gen.listing import listing
from pipeline.errors import UserError


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
        listing(f"{len(leaks)} images of {where} are in several splits, under several patients", problems)
        + "\nleave one copy of each, or put its patients into one; "
        "data.allow_cross_split_duplicates=true only reports them"
    )


def places(group: Sequence[dict[str, str]]) -> str:
    """Where the copies of one image are: path, patient and split of each."""
    return ", ".join(f"{image['path']} ({image['patient']}, {image['split']})" for image in group)
