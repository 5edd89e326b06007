"""Download of the official BreaKHis archive, with its images checked by name and its SHA-256 recorded.

Sources of the facts below:

- URL: public scripts; the server is that of the data set's home page, which states the terms.
- SHA-256: none is published.
- Size: 4 GB by kaiko-ai/eva, docs/datasets/breakhis.md.
- The 7,909 names (`breakhis_v1_names.txt.gz`): data/metadata.csv in mariaserov/ML_BreakHis, commit d1459ecc.
  They equal an independent list, data/splits/{train,val,test}.csv in caiojohnston/breakhis-dataaug, commit
  042984f4, and the counts by class and magnification on the home page, except benign images at 40X: the page
  prints 652, but its own total of 1,995 requires 625, as in the list.
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

HOME_PAGE: Final = "https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/"
URL: Final = "http://www.inf.ufpr.br/vri/databases/BreaKHis_v1.tar.gz"
FILE_NAME: Final = "BreaKHis_v1.tar.gz"
APPROXIMATE_SIZE: Final = "about 4 GB"
_GZIP = b"\x1f\x8b"  # first bytes of a gzip file

Progress = Callable[[int, int | None], None]  # bytes so far, and of the whole file if known


def download_archive(
    folder: Path,
    *,
    accept_terms: bool,
    progress: Callable[[str], Progress],
    url: str,
    names: Set[str],
) -> Path:
    """Download the archive unless the folder has it, check it, and record its SHA-256.

    Since no hash is published, the first check writes one to `BreaKHis_v1.tar.gz.sha256`, in the format of
    sha256sum, and later calls compare with that. An archive that was copied there is checked the same way.

    Args:
        folder: Folder of the archive; created if missing.
        accept_terms: Whether the user accepts the terms of BreaKHis.
        progress: Starts a progress display of a step, given its name.
        url: URL of the archive, such as `URL`.
        names: Names of the images that it must hold, such as `official_names()`.

    Returns:
        Path of the archive.

    Raises:
        UserError: The terms are not accepted, the download fails, or the archive is damaged or another one.
    """
    archive = folder / FILE_NAME
    if not accept_terms:
        raise UserError(
            f"BreaKHis has its own terms: read them at {HOME_PAGE}\n"
            f"to download {url} ({APPROXIMATE_SIZE}) into {folder}, run this again with --accept-terms"
        )
    if archive.exists():
        _check(archive, archive, names, progress)
        return archive
    part = archive.with_name(f"{FILE_NAME}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        download_file(url, part, starts_with=_GZIP, progress=progress("downloading"))
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; name another folder") from None
    except UserError as error:
        raise UserError(
            f"{error}\nor download {url} ({APPROXIMATE_SIZE}) by other means, put it at {archive}, and run "
            "the same command again to check it"
        ) from None
    _check(part, archive, names, progress)
    part.rename(archive)
    return archive


def _check(file: Path, archive: Path, names: Set[str], progress: Callable[[str], Progress]) -> None:
    """Check a downloaded file, and record its hash or compare it with the recorded one."""
    record = archive.with_name(f"{FILE_NAME}.sha256")
    digest = check_archive(file, names=names, progress=progress("checking"))
    if not record.exists():
        record.write_text(f"{digest}  {FILE_NAME}\n", encoding="utf-8")
    elif record.read_text(encoding="utf-8").split()[:1] != [digest]:
        raise UserError(
            f"{file} holds the right names, but its SHA-256 is {digest}, not the one that {record} has from "
            "its first use; remove whichever of the two files is wrong and run again"
        )


_BLOCK = 1 << 20  # bytes
_TIMEOUT = 60  # seconds without a byte


def download_file(url: str, part: Path, *, starts_with: bytes, progress: Progress) -> None:
    """Download a file, resuming an earlier download that was interrupted.

    The rest of a partial file is requested with a Range (RFC 9110, section 14). If-Range, with the value in
    `<part>.validator`, makes the server send the whole file if it has changed since. A server without support
    for ranges also sends all of it; the download then starts over.

    Args:
        url: URL of the file.
        part: Path of the partial file, which is complete on return.
        starts_with: First bytes of the expected kind of file; any other is refused before it is written.
        progress: Receives the bytes so far.

    Raises:
        UserError: The server cannot be reached, refuses, breaks off, or sends another kind of file.
    """
    validator = part.with_name(f"{part.name}.validator")
    have = part.stat().st_size if part.exists() else 0
    try:
        with urllib.request.urlopen(_request(url, have, validator), timeout=_TIMEOUT) as response:
            start = _start(response)
            first = response.read(_BLOCK)
            if start not in (0, have) or (start == 0 and not first.startswith(starts_with)):
                kind = response.headers.get_content_type()
                raise UserError(f"{url}: the server sent something else ({kind}); open the URL in a browser")
            if start == 0:
                part.unlink(missing_ok=True)
            validator.write_text(_validator(response), encoding="utf-8")
            _receive(response, part, first=first, start=start, progress=progress)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code != http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise UserError(f"{url}: the server answers {error.code} {error.reason}") from None
        # There are no bytes after ours: the file is complete, or another one.
        if error.headers.get("Content-Range") != f"bytes */{have}":
            part.unlink()
            raise UserError(f"{part} did not fit the file at {url} and was removed; run again") from None
    except (OSError, http.client.HTTPException) as error:
        received = part.stat().st_size if part.exists() else 0
        remedy = f"; {part} has {received:,} bytes, run again to resume" if received else ""
        raise UserError(f"cannot download {url}: {getattr(error, 'reason', None) or error}{remedy}") from None
    validator.unlink(missing_ok=True)


def _request(url: str, have: int, validator: Path) -> urllib.request.Request:
    request = urllib.request.Request(url)
    if have:
        request.add_header("Range", f"bytes={have}-")
        stored = validator.read_text(encoding="utf-8") if validator.exists() else ""
        if stored:
            request.add_header("If-Range", stored)
    return request


def _start(response: http.client.HTTPResponse) -> int:
    """Return the position of the response's first byte in the file."""
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if response.status == http.HTTPStatus.PARTIAL_CONTENT and match else 0


def _validator(response: http.client.HTTPResponse) -> str:
    """Return the value for If-Range that identifies this content; empty if the server sends none."""
    etag = response.headers.get("ETag", "")
    is_strong = etag.startswith('"')  # If-Range must not have a weak one
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
    if total is not None and done < total:  # `read` with a size does not raise
        raise ConnectionError(f"the connection broke off after {done:,} of {total:,} bytes")


_BELOW = "BreaKHis_v1/histology_slides/breast/"
_LISTED = 5  # names in one message


def check_archive(archive: Path, *, names: Set[str], progress: Progress) -> str:
    """Check a .tar.gz in one pass, and return its SHA-256 in hexadecimal.

    Nothing is unpacked and no image decoded: names are compared, and gzip's checksum covers the contents.

    Args:
        archive: Path of the archive.
        names: Names of the images that it must hold, below `BreaKHis_v1/histology_slides/breast`.
        progress: Receives the bytes so far.

    Raises:
        UserError: The archive is damaged, or images are missing, unknown or duplicated.
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
            raise UserError(
                f"{archive} is damaged or incomplete ({error}); remove it and run again"
            ) from None
        while hashed.read(_BLOCK):
            pass
    images = {name: times for name, times in found.items() if name.lower().endswith(".png")}
    expected = {_BELOW + name for name in names}
    problems = [
        *_problem("missing", expected - images.keys()),
        *_problem("unknown", images.keys() - expected),
        *_problem("duplicated", {name for name, times in images.items() if times > 1}),
    ]
    if problems:
        raise UserError(
            f"{archive} is not the official archive of {len(names):,} images: {'; '.join(problems)}; "
            "remove it and run again"
        )
    return hashed.digest.hexdigest()


class _HashedReader:
    """A file that is hashed while it is read."""

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


def _problem(problem: str, names: Set[str]) -> list[str]:
    if not names:
        return []
    listed = ", ".join(sorted(names)[:_LISTED])
    return [f"{len(names):,} images {problem} ({listed}{', ...' if len(names) > _LISTED else ''})"]


def official_names() -> frozenset[str]:
    """Return the paths of the 7,909 images below `BreaKHis_v1/histology_slides/breast`."""
    packed = (resources.files("knet.data") / "breakhis_v1_names.txt.gz").read_bytes()
    return frozenset(gzip.decompress(packed).decode().split())
