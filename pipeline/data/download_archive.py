"""Brings the official archive into a folder, checked and with its hash on record."""

from __future__ import annotations

from collections.abc import Callable, Set
from pathlib import Path

from pipeline.data.check_archive import check_archive
from pipeline.data.fetch_file import Progress, fetch_file
from pipeline.data.official_archive import APPROXIMATE_SIZE, FILE_NAME, HOME_PAGE
from pipeline.errors import UserError

_GZIP = b"\x1f\x8b"


def download_archive(
    folder: Path,
    *,
    accept_terms: bool,
    progress: Callable[[str], Progress],
    url: str,
    names: Set[str],
) -> Path:
    """Fetches the archive where it is not there yet, checks it, and records its SHA-256 beside it.

    No hash of the archive is published. The one of its first check is kept in `BreaKHis_v1.tar.gz.sha256`, as
    sha256sum writes it, and every later call compares with that. A file brought by hand is checked alike.

    Args:
        folder: receives the archive; made if missing.
        accept_terms: whether the user accepts the terms of BreaKHis.
        progress: begins to show a step, given its name.
        url: of the archive (`official_archive.URL`).
        names: of the images that it must hold (`official_names`).

    Returns:
        The archive's path.

    Raises:
        UserError: the terms are not accepted, the archive cannot be fetched or is not the right one, or its
            hash is not the one on record.
    """
    archive = folder / FILE_NAME
    if not accept_terms:
        raise UserError(
            f"BreaKHis has terms of its own: read them at {HOME_PAGE}\n"
            f"to fetch {url} ({APPROXIMATE_SIZE}) into {folder}, run this again with --accept-terms"
        )
    if archive.exists():
        _check(archive, archive, names, progress)
        return archive
    part = archive.with_name(f"{FILE_NAME}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fetch_file(url, part, starts_with=_GZIP, progress=progress("fetching"))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; name another folder") from None
    except UserError as error:
        raise UserError(
            f"{error}\nor fetch {url} ({APPROXIMATE_SIZE}) by other means, put it at {archive}, and run the "
            "same command again: it is then checked"
        ) from None
    _check(part, archive, names, progress)
    part.rename(archive)
    return archive


def _check(file: Path, archive: Path, names: Set[str], progress: Callable[[str], Progress]) -> None:
    """Checks a file that is or becomes the archive, and records its hash or compares it with the record."""
    record = archive.with_name(f"{FILE_NAME}.sha256")
    digest = check_archive(file, names=names, progress=progress("checking"))
    if not record.exists():
        record.write_text(f"{digest}  {FILE_NAME}\n", encoding="utf-8")
    elif record.read_text(encoding="utf-8").split()[:1] != [digest]:
        raise UserError(
            f"{file} holds the right names, but its SHA-256 is {digest}, which is not the one that {record} "
            "has from its first use; remove whichever of the two files is wrong and run again"
        )
