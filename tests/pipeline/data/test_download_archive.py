"""From nothing to a checked archive with its hash on record."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.data.download_archive import download_archive
from pipeline.errors import UserError

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


def test_the_archive_stands_beside_its_hash(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path]
) -> None:
    content = packed()
    archive = download(serve(content).url)
    assert archive.read_bytes() == content
    assert files(archive.parent) == {"BreaKHis_v1.tar.gz", "BreaKHis_v1.tar.gz.sha256"}
    record = archive.with_name("BreaKHis_v1.tar.gz.sha256").read_text("utf-8")
    assert record == f"{hashlib.sha256(content).hexdigest()}  BreaKHis_v1.tar.gz\n"


def test_nothing_is_asked_for_before_the_terms_are_accepted(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path], tmp_path: Path
) -> None:
    server = serve(packed())
    with pytest.raises(UserError) as caught:
        download(server.url, accept_terms=False)
    for told in ("https://web.inf.ufpr.br/vri/", server.url, "about 4 GB", "--accept-terms"):
        assert told in str(caught.value)
    assert server.asked == []
    assert files(tmp_path) == set()


def test_an_archive_that_is_there_is_checked_and_not_fetched(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path]
) -> None:
    server = serve(packed())
    assert download(server.url) == download(server.url)
    assert len(server.asked) == 1


def test_an_archive_brought_by_hand_is_checked_and_recorded(
    packed: Callable[..., bytes], download: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "BreaKHis_v1.tar.gz").write_bytes(packed())
    archive = download(NOWHERE)
    assert files(archive.parent) == {"BreaKHis_v1.tar.gz", "BreaKHis_v1.tar.gz.sha256"}


def test_without_network_it_says_what_to_bring_and_where(
    download: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        download(NOWHERE)
    message = str(caught.value)
    assert message.startswith(f"cannot fetch {NOWHERE}")
    assert (
        f"or fetch {NOWHERE} (about 4 GB) by other means, put it at {tmp_path}/data/BreaKHis_v1.tar.gz"
        in message
    )


def test_another_content_than_on_record_is_refused(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path]
) -> None:
    archive = download(serve(packed()).url)
    archive.write_bytes(packed(content=b"other"))
    with pytest.raises(
        UserError, match=r"its SHA-256 is [0-9a-f]{64}, which is not the one that .*\.sha256 has"
    ):
        download(NOWHERE)


def test_the_wrong_archive_gets_neither_name_nor_record(
    serve: Callable[..., Any], packed: Callable[..., bytes], download: Callable[..., Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="3 images missing"):
        download(serve(packed(["benign/other.png"])).url)
    assert files(tmp_path / "data") == {"BreaKHis_v1.tar.gz.part"}


def test_a_folder_that_cannot_be_made_is_named(download: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(UserError, match=f"cannot write to {tmp_path}/data: .*; name another folder"):
        download(NOWHERE)
