"""Atomic writes, and reads of JSON."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.base.files import atomic_write, read_json, remove_abandoned


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_atomic_write_creates_folders_and_leaves_no_other_file(tmp_path: Path) -> None:
    file = tmp_path / "new" / "notes.json"
    atomic_write(file, "größer")
    assert file.read_text("utf-8") == "größer"
    atomic_write(file, b"more")
    assert names(file.parent) == ["notes.json"]
    assert file.read_bytes() == b"more"


def test_atomic_write_of_bad_text_leaves_former_file(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    atomic_write(file, "before")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(file, "\ud800")
    assert file.read_text("utf-8") == "before"
    assert names(tmp_path) == ["notes.json"]


def test_atomic_write_calls_function_with_hidden_path(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    atomic_write(file, "before")

    def write(path: Path) -> None:
        path.write_text("after", "utf-8")
        assert path.parent == tmp_path and path.name.startswith(".")
        assert file.read_text("utf-8") == "before"

    atomic_write(file, write)
    assert file.read_text("utf-8") == "after"


def test_atomic_write_by_failing_function_leaves_former_file(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half", "utf-8")
        raise KeyError("broken")

    atomic_write(tmp_path / "notes.json", "before")
    with pytest.raises(KeyError, match="broken"):
        atomic_write(tmp_path / "notes.json", fail)
    assert names(tmp_path) == ["notes.json"]
    assert (tmp_path / "notes.json").read_text("utf-8") == "before"


@pytest.mark.parametrize("content", [b"secret", lambda path: path.write_bytes(b"secret")])
def test_atomic_write_flushes_to_disk_before_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object
) -> None:
    flushed = []

    def fsync(descriptor: int) -> None:
        flushed.append(os.fstat(descriptor).st_size)
        assert not (tmp_path / "file").exists()

    monkeypatch.setattr(os, "fsync", fsync)
    atomic_write(tmp_path / "file", content)  # type: ignore[arg-type]
    assert flushed == [6]


@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o664, 0o664), (None, 0o640)])
def test_atomic_write_sets_permissions(tmp_path: Path, mode: int | None, expected: int) -> None:
    seen = []
    before = os.umask(0o027)
    try:
        atomic_write(tmp_path / "file", lambda path: seen.append(path.stat().st_mode & 0o777), mode=mode)
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == expected
    assert seen == [0o640 if mode is None else 0o600]


def test_atomic_write_does_not_replace_a_pipe_or_device(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="Not a regular file"):
        atomic_write(tmp_path / "pipe", "text")
    assert (tmp_path / "pipe").is_fifo()


def test_remove_abandoned_spares_young_and_other_files(tmp_path: Path) -> None:
    for name, hours in ((".old.tmp", 25), (".young.tmp", 1), ("old", 25)):
        (tmp_path / name).touch()
        then = time.time() - hours * 60 * 60
        os.utime(tmp_path / name, (then, then))
    remove_abandoned(tmp_path)
    assert names(tmp_path) == [".young.tmp", "old"]


def test_read_json_returns_content_or_none(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json", remedy="delete it") is None
    (tmp_path / "some.json").write_text('["größer"]', encoding="utf-8")
    assert read_json(tmp_path / "some.json", remedy="delete it") == ["größer"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\0" * 20, "Expecting value"),
        (b'{"a": 1', "Expecting"),
        (b"\xff\xfe\xff", "codec"),
    ],
)
def test_read_json_damaged_names_file_reason_and_remedy(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "some.json").write_bytes(content)
    with pytest.raises(UserError, match=rf"^{tmp_path}/some\.json: damaged \(.*{reason}.*\); delete it$"):
        read_json(tmp_path / "some.json", remedy="delete it")


def test_read_json_unreadable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory\); delete it"):
        read_json(tmp_path, remedy="delete it")
