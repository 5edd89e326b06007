"""What the first and last bytes of a file tell."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.check_headers import check_headers

SIZE = (40, 32)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_whole_images_have_no_problem(tmp_path: Path, picture: Callable[..., bytes], kind: str) -> None:
    (tmp_path / "a").write_bytes(picture(kind=kind, size=SIZE))
    assert check_headers(tmp_path, ["a"]) == {}


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda content: b"", "zero bytes"),
        (
            lambda content: b"no image at all, but long enough to be one",
            "not an image, or damaged in its first bytes",
        ),
        (lambda content: content[:20], "not an image, or damaged in its first bytes"),
        (lambda content: content[:-1], "truncated or damaged (its end is missing)"),
        (lambda content: content + b"\0", "truncated or damaged (there are bytes behind its end)"),
        (
            lambda content: content[:24] + b"\x10" + content[25:],
            "not an image, or damaged in its first bytes",
        ),
    ],
)
def test_a_damaged_file_is_told(
    tmp_path: Path, picture: Callable[..., bytes], spoil: Callable[[bytes], bytes], reason: str
) -> None:
    (tmp_path / "good").write_bytes(picture(size=SIZE))
    (tmp_path / "bad").write_bytes(spoil(picture(size=SIZE)))
    assert check_headers(tmp_path, ["good", "bad"]) == {"bad": reason}


@pytest.mark.parametrize(
    ("mode", "reason"), [("L", "grey"), ("RGBA", "RGB with alpha"), ("I;16", "16-bit grey")]
)
def test_another_kind_of_image_is_told(
    tmp_path: Path, picture: Callable[..., bytes], mode: str, reason: str
) -> None:
    (tmp_path / "a").write_bytes(picture(mode, size=SIZE))
    assert check_headers(tmp_path, ["a"]) == {"a": f"not 8-bit RGB but {reason}"}


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    assert check_headers(tmp_path, ["link", "pipe"]) == {"link": "not a file", "pipe": "not a file"}


def test_a_file_that_may_not_be_read_is_told(
    tmp_path: Path, picture: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(picture(size=SIZE))

    def refuse(path: Path, mode: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert check_headers(tmp_path, ["a"]) == {"a": "cannot be read (Permission denied)"}
