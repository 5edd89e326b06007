"""Fetches one large file over HTTP, going on where an earlier attempt stopped."""

from __future__ import annotations

import http
import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from pipeline.errors import UserError

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
