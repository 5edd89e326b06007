"""What makes an archive the official one."""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.check_archive import check_archive
from pipeline.errors import UserError

FIRST, SECOND, THIRD = NAMES = [
    f"benign/SOB/adenosis/SOB_B_A_14-1/40X/SOB_B_A-14-1-40-00{number}.png" for number in range(1, 4)
]


@pytest.fixture
def check(tmp_path: Path) -> Callable[[bytes], str]:
    def run(content: bytes) -> str:
        path = tmp_path / "archive.tar.gz"
        path.write_bytes(content)
        return check_archive(path, names=frozenset(NAMES), progress=lambda done, total: None)

    return run


def test_the_hash_is_of_the_whole_file(check: Callable[[bytes], str], packed: Callable[..., bytes]) -> None:
    content = packed(NAMES)
    assert check(content) == hashlib.sha256(content).hexdigest()


def test_files_that_are_no_images_do_not_matter(
    check: Callable[[bytes], str], packed: Callable[..., bytes]
) -> None:
    assert check(packed([*NAMES, "README.txt"]))


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (NAMES[1:], rf"1 images missing \(.*{FIRST}\)"),
        ([], "3 images missing"),
        ([*NAMES, "benign/new.png"], r"1 images unknown \(.*benign/new\.png\)"),
        ([*NAMES, SECOND], rf"1 images there twice \(.*{SECOND}\)"),
    ],
)
def test_other_names_are_listed(
    check: Callable[[bytes], str], packed: Callable[..., bytes], names: list[str], problem: str
) -> None:
    with pytest.raises(UserError, match=f"is not the official archive of 3 images: .*{problem}"):
        check(packed(names))


@pytest.mark.parametrize("kept", [3, 60, -30, -4])
def test_a_truncated_archive_is_damaged(
    check: Callable[[bytes], str], packed: Callable[..., bytes], kept: int
) -> None:
    with pytest.raises(UserError, match=r"archive\.tar\.gz is damaged or not whole"):
        check(packed(NAMES)[:kept])


def test_a_flipped_bit_is_found_by_gzip_s_checksum(
    check: Callable[[bytes], str], packed: Callable[..., bytes]
) -> None:
    content = bytearray(gzip.compress(gzip.decompress(packed(NAMES)), compresslevel=0))
    content[content.index(b"image")] ^= 1  # stored, not compressed: only the checksum can tell
    with pytest.raises(UserError, match="damaged"):
        check(bytes(content))


def test_another_file_is_refused(check: Callable[[bytes], str]) -> None:
    with pytest.raises(UserError, match="damaged"):
        check(b"<html>sign in</html>")
