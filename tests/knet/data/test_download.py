"""Download, check and record of the official archive."""

from __future__ import annotations

import csv
import gzip
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from knet.base.errors import UserError
from knet.data.download import check_archive, download_archive, download_file, official_names

NAMES = frozenset(
    f"benign/SOB/adenosis/SOB_B_A_14-1/40X/SOB_B_A-14-1-40-00{number}.png" for number in range(1, 4)
)
NOWHERE = "http://127.0.0.1:1/BreaKHis_v1.tar.gz"


@pytest.fixture
def download(tmp_path: Path) -> Callable[..., Path]:
    def run(url: str, *, accept_terms: bool = True) -> Path:
        return download_archive(
            tmp_path / "data",
            accept_terms=accept_terms,
            progress=lambda step: lambda done, total: None,
            url=url,
            names=NAMES,
        )

    return run


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_download_archive_writes_archive_and_hash(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path]
) -> None:
    content = packed()
    archive = download(serve(content).url)
    assert archive.read_bytes() == content
    assert files(archive.parent) == {"BreaKHis_v1.tar.gz", "BreaKHis_v1.tar.gz.sha256"}
    record = archive.with_name("BreaKHis_v1.tar.gz.sha256").read_text("utf-8")
    assert record == f"{hashlib.sha256(content).hexdigest()}  BreaKHis_v1.tar.gz\n"


def test_download_archive_requires_accepted_terms(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path], tmp_path: Path
) -> None:
    server = serve(packed())
    with pytest.raises(UserError) as caught:
        download(server.url, accept_terms=False)
    for told in ("https://web.inf.ufpr.br/vri/", server.url, "about 4 GB", "--accept-terms"):
        assert told in str(caught.value)
    assert server.requests == []
    assert files(tmp_path) == set()


def test_download_archive_checks_an_existing_archive(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path]
) -> None:
    server = serve(packed())
    assert download(server.url) == download(server.url)
    assert len(server.requests) == 1


def test_download_archive_records_a_copied_archive(
    packed: Callable[..., bytes], download: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "BreaKHis_v1.tar.gz").write_bytes(packed())
    archive = download(NOWHERE)
    assert files(archive.parent) == {"BreaKHis_v1.tar.gz", "BreaKHis_v1.tar.gz.sha256"}


def test_download_archive_without_network_states_the_remedy(
    download: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        download(NOWHERE)
    message = str(caught.value)
    assert message.startswith(f"cannot download {NOWHERE}")
    assert (
        f"or download {NOWHERE} (about 4 GB) by other means, put it at {tmp_path}/data/BreaKHis_v1.tar.gz"
        in message
    )


def test_download_archive_refuses_another_hash(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path]
) -> None:
    archive = download(serve(packed()).url)
    archive.write_bytes(packed(content=b"other"))
    with pytest.raises(UserError, match=r"its SHA-256 is [0-9a-f]{64}, not the one that .*\.sha256 has"):
        download(NOWHERE)


def test_download_archive_does_not_record_another_archive(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="3 images missing"):
        download(serve(packed(["benign/other.png"])).url)
    assert files(tmp_path / "data") == {"BreaKHis_v1.tar.gz.part"}


def test_download_archive_names_an_unwritable_folder(download: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(UserError, match=f"cannot write to {tmp_path}/data: .*; name another folder"):
        download(NOWHERE)


CONTENT = b"\x1f\x8b" + bytes(range(256)) * 40
HALF = 5000


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "archive.part"


def fetch(url: str, part: Path, seen: list[tuple[int, int | None]] | None = None) -> None:
    progress = (
        (lambda done, total: None) if seen is None else (lambda done, total: seen.append((done, total)))
    )
    download_file(url, part, starts_with=b"\x1f\x8b", progress=progress)


def break_off(server: Any, part: Path) -> None:
    """Downloads the first half of the server's file."""
    server.breaks_after = HALF
    with pytest.raises(UserError):
        fetch(server.url, part)
    server.breaks_after = None
    assert part.read_bytes() == server.content[:HALF]


def test_download_file_reports_progress_and_leaves_one_file(serve: Callable[..., Any], part: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    fetch(serve(CONTENT).url, part, seen)
    assert part.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert list(part.parent.iterdir()) == [part]


def test_download_file_keeps_a_partial_file(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT, breaks_after=HALF)
    with pytest.raises(UserError, match=rf"5,000 of 10,242 bytes; {part} has 5,000 bytes, run again"):
        fetch(server.url, part)


def test_download_file_requests_the_rest_only(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT)
    break_off(server, part)
    fetch(server.url, part)
    assert part.read_bytes() == CONTENT
    assert (server.requests[1]["Range"], server.requests[1]["If-Range"]) == ("bytes=5000-", '"1"')
    assert list(part.parent.iterdir()) == [part]


def test_download_file_resumes_after_a_kill(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT * 400)  # 4 MB: more than one block
    code = (
        "import sys, time; from pathlib import Path; from knet.data.download import download_file\n"
        "download_file(sys.argv[1], Path(sys.argv[2]), starts_with=b'', progress=lambda *_: time.sleep(60))"
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
    assert "Range" in server.requests[1]


def test_download_file_restarts_if_the_file_changed(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT)
    break_off(server, part)
    server.content, server.etag = CONTENT[::-1].replace(b"\x8b\x1f", b"") + b"!", '"2"'
    server.content = b"\x1f\x8b" + server.content
    fetch(server.url, part)
    assert part.read_bytes() == server.content


def test_download_file_restarts_without_ranges(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT, ranges=False)
    break_off(server, part)
    fetch(server.url, part)
    assert part.read_bytes() == CONTENT


@pytest.mark.parametrize("etag", [None, 'W/"1"'])
def test_download_file_resumes_without_a_strong_etag(
    serve: Callable[..., Any], part: Path, etag: str | None
) -> None:
    server = serve(CONTENT, etag=etag)
    break_off(server, part)
    fetch(server.url, part)
    assert part.read_bytes() == CONTENT
    assert "If-Range" not in server.requests[1]


def test_download_file_accepts_a_complete_part(serve: Callable[..., Any], part: Path) -> None:
    part.write_bytes(CONTENT)
    fetch(serve(CONTENT).url, part)
    assert part.read_bytes() == CONTENT


def test_download_file_removes_a_part_that_is_too_long(serve: Callable[..., Any], part: Path) -> None:
    part.write_bytes(CONTENT + b"more")
    with pytest.raises(UserError, match=f"{part} did not fit the file at .* was removed; run again"):
        fetch(serve(CONTENT).url, part)
    assert not part.exists()


def test_download_file_does_not_write_another_kind(serve: Callable[..., Any], part: Path) -> None:
    with pytest.raises(UserError, match=r"the server sent something else \(text/html\)"):
        fetch(serve(b"<html>sign in</html>", kind="text/html").url, part)
    assert list(part.parent.iterdir()) == []


def test_download_file_keeps_the_part_at_another_kind(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT, ranges=False)
    break_off(server, part)
    server.content = b"<html>sign in</html>"
    with pytest.raises(UserError, match="the server sent something else"):
        fetch(server.url, part)
    assert part.read_bytes() == CONTENT[:HALF]


def test_download_file_reports_a_server_error(serve: Callable[..., Any], part: Path) -> None:
    server = serve(CONTENT, status=404)
    with pytest.raises(UserError, match="the server answers 404 Not Found"):
        fetch(server.url, part)
    assert not part.exists()


def test_download_file_names_an_unreachable_url(part: Path) -> None:
    with pytest.raises(UserError, match=r"cannot download http://127\.0\.0\.1:1/x: .*refused"):
        fetch("http://127.0.0.1:1/x", part)
    assert not part.exists()


FIRST, SECOND, THIRD = ARCHIVE_NAMES = [
    f"benign/SOB/adenosis/SOB_B_A_14-1/40X/SOB_B_A-14-1-40-00{number}.png" for number in range(1, 4)
]


@pytest.fixture
def check(tmp_path: Path) -> Callable[[bytes], str]:
    def run(content: bytes) -> str:
        path = tmp_path / "archive.tar.gz"
        path.write_bytes(content)
        return check_archive(path, names=frozenset(ARCHIVE_NAMES), progress=lambda done, total: None)

    return run


def test_check_archive_hashes_the_whole_file(
    check: Callable[[bytes], str], packed: Callable[..., bytes]
) -> None:
    content = packed(ARCHIVE_NAMES)
    assert check(content) == hashlib.sha256(content).hexdigest()


def test_check_archive_ignores_other_files(
    check: Callable[[bytes], str], packed: Callable[..., bytes]
) -> None:
    assert check(packed([*ARCHIVE_NAMES, "README.txt"]))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (ARCHIVE_NAMES[1:], rf"1 images missing \(.*{FIRST}\)"),
        ([], "3 images missing"),
        ([*ARCHIVE_NAMES, "benign/new.png"], r"1 images unknown \(.*benign/new\.png\)"),
        ([*ARCHIVE_NAMES, SECOND], rf"1 images duplicated \(.*{SECOND}\)"),
    ],
)
def test_check_archive_lists_other_names(
    check: Callable[[bytes], str], packed: Callable[..., bytes], names: list[str], problem: str
) -> None:
    with pytest.raises(UserError, match=f"is not the official archive of 3 images: .*{problem}"):
        check(packed(names))


@pytest.mark.parametrize("kept", [3, 60, -30, -4])
def test_check_archive_refuses_a_truncated_archive(
    check: Callable[[bytes], str], packed: Callable[..., bytes], kept: int
) -> None:
    with pytest.raises(UserError, match=r"archive\.tar\.gz is damaged or incomplete"):
        check(packed(ARCHIVE_NAMES)[:kept])


def test_check_archive_finds_a_flipped_bit(
    check: Callable[[bytes], str], packed: Callable[..., bytes]
) -> None:
    content = bytearray(gzip.compress(gzip.decompress(packed(ARCHIVE_NAMES)), compresslevel=0))
    content[content.index(b"image")] ^= 1  # stored, not compressed: only the checksum can tell
    with pytest.raises(UserError, match="damaged"):
        check(bytes(content))


def test_check_archive_refuses_another_file(check: Callable[[bytes], str]) -> None:
    with pytest.raises(UserError, match="damaged"):
        check(b"<html>sign in</html>")


def test_official_names_have_the_counts_of_breakhis() -> None:
    names = official_names()
    counts = Counter((name.split("/")[0], name.split("/")[4]) for name in names)
    assert len(names) == 7909
    assert counts == {
        ("benign", "40X"): 625, ("benign", "100X"): 644, ("benign", "200X"): 623, ("benign", "400X"): 588,
        ("malignant", "40X"): 1370, ("malignant", "100X"): 1437, ("malignant", "200X"): 1390,
        ("malignant", "400X"): 1232,
    }  # fmt: skip


def test_official_names_equal_the_verified_list(shared_data: Path) -> None:
    with (shared_data / "breakhis_manifest" / "breakhis_v1_files.csv").open(encoding="utf-8") as file:
        paths = {row["path"] for row in csv.DictReader(file)}
    assert {f"BreaKHis_v1/histology_slides/breast/{name}" for name in official_names()} == paths
