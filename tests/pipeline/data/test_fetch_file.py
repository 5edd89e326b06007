"""Downloads that break off, change on the way, or bring something else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.fetch_file import fetch_file
from pipeline.errors import UserError

CONTENT = b"\x1f\x8b" + bytes(range(256)) * 40
HALF = 5000


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "archive.part"


def fetch(url: str, part: Path, seen: list[tuple[int, int | None]] | None = None) -> None:
    progress = (
        (lambda done, total: None) if seen is None else (lambda done, total: seen.append((done, total)))
    )
    fetch_file(url, part, starts_with=b"\x1f\x8b", progress=progress)


def break_off(server: Any, part: Path) -> None:
    """Leaves the first half of the server's file."""
    server.breaks_after = HALF
    with pytest.raises(UserError):
        fetch(server.url, part)
    server.breaks_after = None
    assert part.read_bytes() == server.content[:HALF]


def test_a_whole_file_comes_with_progress_and_leaves_nothing_else(
    serve: Callable[..., Any], part: Path
) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(serve(CONTENT).url, part, seen)
    assert part.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert list(part.parent.iterdir()) == [part]


def test_a_broken_connection_keeps_what_came_and_says_so(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT, breaks_after=HALF)
    with pytest.raises(UserError, match=rf"5,000 of 10,242 bytes; 5,000 bytes are kept in {part}, run again"):
        fetch(server.url, part)


def test_the_rest_alone_is_asked_for(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT)
    break_off(server, part)
    fetch(server.url, part)
    assert part.read_bytes() == CONTENT
    assert (server.asked[1]["Range"], server.asked[1]["If-Range"]) == ("bytes=5000-", '"1"')
    assert list(part.parent.iterdir()) == [part]


def test_a_killed_download_goes_on(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT * 400)  # 4 MB: more than one block
    code = (
        "import sys, time; from pathlib import Path; from pipeline.data.fetch_file import fetch_file\n"
        "fetch_file(sys.argv[1], Path(sys.argv[2]), starts_with=b'', progress=lambda *_: time.sleep(60))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen([sys.executable, "-c", code, server.url, str(part)], env=environment)
    try:
        while not (part.exists() and part.stat().st_size):
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert 0 < part.stat().st_size < len(server.content)
    fetch(server.url, part)
    assert part.read_bytes() == server.content
    assert "Range" in server.asked[1]


def test_a_file_that_changed_is_begun_anew(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT)
    break_off(server, part)
    server.content, server.etag = CONTENT[::-1].replace(b"\x8b\x1f", b"") + b"!", '"2"'
    server.content = b"\x1f\x8b" + server.content
    fetch(server.url, part)
    assert part.read_bytes() == server.content


def test_a_server_without_ranges_sends_all_again(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT, ranges=False)
    break_off(server, part)
    fetch(server.url, part)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_a_server_without_a_strong_etag_is_resumed_too(
    serve: Callable[..., Any], part: Path, etag: str | None
) -> None:
    server = serve(CONTENT, etag=etag)
    break_off(server, part)
    fetch(server.url, part)
    assert part.read_bytes() == CONTENT
    assert "If-Range" not in server.asked[1]


def test_a_part_that_is_whole_is_taken_as_it_is(serve: Callable[..., Any], part: Path) -> None:
    part.write_bytes(CONTENT)
    fetch(serve(CONTENT).url, part)
    assert part.read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_is_removed(serve: Callable[..., Any], part: Path) -> None:
    part.write_bytes(CONTENT + b"more")
    with pytest.raises(UserError, match=f"{part} did not fit the file at .* was removed; run again"):
        fetch(serve(CONTENT).url, part)
    assert not part.exists()


def test_another_kind_of_file_is_not_written(serve: Callable[..., Any], part: Path) -> None:
    with pytest.raises(UserError, match=r"the server sent something else \(text/html\)"):
        fetch(serve(b"<html>sign in</html>", kind="text/html").url, part)
    assert list(part.parent.iterdir()) == []


def test_another_kind_of_file_leaves_what_came_before(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT, ranges=False)
    break_off(server, part)
    server.content = b"<html>sign in</html>"
    with pytest.raises(UserError, match="the server sent something else"):
        fetch(server.url, part)
    assert part.read_bytes() == CONTENT[:HALF]


def test_an_error_of_the_server_is_told(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT, status=404)
    with pytest.raises(UserError, match="the server answers 404 Not Found"):
        fetch(server.url, part)
    assert not part.exists()


def test_without_a_server_the_address_is_named(part: Path) -> None:
    with pytest.raises(UserError, match=r"cannot fetch http://127\.0\.0\.1:1/x: .*refused"):
        fetch("http://127.0.0.1:1/x", part)
    assert not part.exists()
