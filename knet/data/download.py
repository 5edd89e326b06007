"""Brings the official archive into a folder, checked and with its hash on record.

What is known of the archive in which BreaKHis is published, and from where.

The address is the one that public scripts fetch it from, and it is of the same server as the data set's home
page, where the terms are. No hash is published. The size is second-hand: 4 GB, by kaiko-ai/eva,
docs/datasets/breakhis.md.

The 7,909 names (`breakhis_v1_names.txt.gz`) are from data/metadata.csv in mariaserov/ML_BreakHis, commit
d1459ecc, and are those of data/splits/{train,val,test}.csv in caiojohnston/breakhis-dataaug, commit 042984f4,
a list made independently. Counts by class and magnification are those of the home page, but for benign images
at 40X, where the page prints 652 and its own total of 1,995 gives 625, as the list does.
"""

from __future__ import annotations

import gzip
import hashlib
import http
import http.client
import re
import tarfile
import urllib.error
import urllib.request
import zlib
from collections import Counter
from collections.abc import Callable, Set
from importlib import resources
from pathlib import Path
from typing import BinaryIO, Final

from knet.base.errors import UserError

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


Progress = Callable[[int, int | None], None]  # bytes so far, and of the whole file where that is known
_BLOCK = 1 << 20  # bytes
_TIMEOUT = 60  # seconds without a byte


def fetch_file(url: str, part: Path, *, starts_with: bytes, progress: Progress) -> None:
    """Fetches `url` into `part`, and leaves there what came where the connection breaks.

    What an earlier call left in `part` is kept, and the rest asked for with a Range (RFC 9110, section 14).
    With If-Range the server sends all of a file that has changed since; so does a server that knows no
    ranges, and the file is then begun anew. If-Range's value stands in `<part>.validator` until the file is
    whole.

    Args:
        url: of the file.
        part: receives it.
        starts_with: the first bytes of the right kind of file; another kind is refused before it is written.
        progress: is told how far it is.

    Raises:
        UserError: the server cannot be reached, refuses, breaks off, or sends another kind of file.
    """
    validator = part.with_name(f"{part.name}.validator")
    have = part.stat().st_size if part.exists() else 0
    try:
        with urllib.request.urlopen(_request(url, have, validator), timeout=_TIMEOUT) as response:
            start = _start(response)
            first = response.read(_BLOCK)
            if start not in (0, have) or (start == 0 and not first.startswith(starts_with)):
                kind = response.headers.get_content_type()
                raise UserError(f"{url}: the server sent something else ({kind}); see what is there")
            if start == 0:
                part.unlink(missing_ok=True)
            validator.write_text(_validator(response), encoding="utf-8")
            _receive(response, part, first=first, start=start, progress=progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise UserError(f"{url}: the server answers {error.code} {error.reason}") from None
        # Nothing lies behind what we have: it is the whole file, or not this file.
        if error.headers.get("Content-Range") != f"bytes */{have}":
            part.unlink()
            raise UserError(f"{part} did not fit the file at {url} and was removed; run again") from None
    except (OSError, http.client.HTTPException) as error:
        came = part.stat().st_size if part.exists() else 0
        kept = f"; {came:,} bytes are kept in {part}, run again to go on from there" if came else ""
        raise UserError(f"cannot fetch {url}: {getattr(error, 'reason', None) or error}{kept}") from None
    validator.unlink(missing_ok=True)


def _request(url: str, have: int, validator: Path) -> urllib.request.Request:
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
        remembered = validator.read_text(encoding="utf-8") if validator.exists() else ""
        if remembered:
            request.add_header("If-Range", remembered)
    return request


def _start(response: http.client.HTTPResponse) -> int:
    """The position of the answer's first byte in the file."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if response.status == http.HTTPStatus.PARTIAL_CONTENT and match else 0


def _validator(response: http.client.HTTPResponse) -> str:
    """What tells this content from a later one, as If-Range takes it; empty where the server says nothing."""
    etag = response.headers.get("ETag", "")
    is_strong = etag.startswith('"')  # a weak one may not stand in If-Range
    return etag if is_strong else response.headers.get("Last-Modified", "")


def _receive(
    response: http.client.HTTPResponse, part: Path, *, first: bytes, start: int, progress: Progress
) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    done, block = start, first
    with part.open("ab") as file:
        while block:
            file.write(block)
            done += len(block)
            progress(done, total)
            block = response.read(_BLOCK)
    if total is not None and done < total:  # `read` with a size does not complain
        raise ConnectionError(f"the connection broke off after {done:,} of {total:,} bytes")


_BELOW = "BreaKHis_v1/histology_slides/breast/"
_LISTED = 5  # names in one message


def check_archive(archive: Path, *, names: Set[str], progress: Progress) -> str:
    """Reads a .tar.gz once, from end to end, and returns its SHA-256 in hexadecimal.

    Nothing is unpacked, and no image decoded: their names are compared, and gzip's checksum covers the rest.

    Args:
        archive: the file.
        names: of the images that it must hold, below `BreaKHis_v1/histology_slides/breast`.
        progress: is told how far it is.

    Raises:
        UserError: the archive is damaged, or images are missing, unknown or there twice.
    """
    found: Counter[str] = Counter()
    with archive.open("rb") as file:
        hashed = _HashedReader(file, archive.stat().st_size, progress)
        try:
            with gzip.GzipFile(fileobj=hashed, mode="rb") as content:  # type: ignore[call-overload]
                with tarfile.open(fileobj=content, mode="r|") as members:
                    found.update(m.name.removeprefix("./") for m in members if m.isfile())
                while content.read(_BLOCK):  # to gzip's checksum at the end
                    pass
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise UserError(f"{archive} is damaged or not whole ({error}); remove it and run again") from None
        while hashed.read(_BLOCK):
            pass
    images = {name: times for name, times in found.items() if name.lower().endswith(".png")}
    expected = {_BELOW + name for name in names}
    problems = [
        *_problem("missing", expected - images.keys()),
        *_problem("unknown", images.keys() - expected),
        *_problem("there twice", {name for name, times in images.items() if times > 1}),
    ]
    if problems:
        raise UserError(
            f"{archive} is not the official archive of {len(names):,} images: {'; '.join(problems)}"
        )
    return hashed.digest.hexdigest()


class _HashedReader:
    """A file that is hashed as it is read."""

    def __init__(self, file: BinaryIO, size: int, progress: Progress) -> None:
        self._file, self._size, self._progress = file, size, progress
        self._done = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        self._done += len(block)
        self._progress(self._done, self._size)
        return block


def _problem(what: str, names: Set[str]) -> list[str]:
    if not names:
        return []
    listed = ", ".join(sorted(names)[:_LISTED])
    return [f"{len(names):,} images {what} ({listed}{', ...' if len(names) > _LISTED else ''})"]


HOME_PAGE: Final = "https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/"
URL: Final = "http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz"
FILE_NAME: Final = "BreaKHis_v1.tar.gz"
APPROXIMATE_SIZE: Final = "about 4 GB"


def official_names() -> frozenset[str]:
    """The paths of the 7,909 images below `BreaKHis_v1/histology_slides/breast`, with forward slashes."""
    packed = (resources.files("knet.data") / "breakhis_v1_names.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().split())
