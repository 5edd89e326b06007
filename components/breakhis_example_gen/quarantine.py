"""Why a file is not ingested, and how such files are told to the user."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from components.breakhis_example_gen.listing import listing
from pipeline.errors import UserError

MAX_BYTES: Final = 256 * 2**20  # of a file; images within the limit of pixels are smaller


class UnusableError(Exception):
    """A file is no image that can be used; the text is the reason."""


@dataclass(frozen=True, order=True)
class Quarantined:
    """A file that is not ingested."""

    path: str
    reason: str


def check_size(size: int) -> None:
    """Raises UnusableError for a file that is too large to be looked at."""
    if size > MAX_BYTES:
        raise UnusableError(f"too large: {size} bytes, at most {MAX_BYTES}")


def check_share(quarantined: Sequence[Quarantined], *, images: int, max_share: float, where: object) -> None:
    """Logs the quarantined files, and fails when they are too large a share.

    Args:
        quarantined: the files that cannot be used.
        images: how many can.
        max_share: of the unusable among all, up to which they are only reported.
        where: the data, as the user knows them.

    Raises:
        UserError: lists the first files with their reasons.
    """
    for file in quarantined:
        logging.getLogger(__name__).warning("quarantined %s: %s", file.path, file.reason)
    total = len(quarantined) + images
    if not quarantined or len(quarantined) / total <= max_share:
        return
    problems = [f"{file.path}: {file.reason}" for file in quarantined]
    raise UserError(
        listing(f"{len(quarantined)} of {total} files in {where} cannot be used", problems)
        + "\nthe log has all of them; mend or remove them, or allow a larger share than "
        f"data.max_invalid_fraction={max_share:g}"
    )
