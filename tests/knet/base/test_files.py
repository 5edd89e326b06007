"""Files are written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from knet.base.files import atomic_write


def test_missing_folders_are_made_and_nothing_else_is_left(tmp_path: Path) -> None:
    file = tmp_path / "new" / "notes.json"
    atomic_write(file, "größer")
    atomic_write(file, "more")
    assert [path.name for path in file.parent.iterdir()] == ["notes.json"]
    assert file.read_text("utf-8") == "more"


def test_what_cannot_be_written_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    atomic_write(file, "before")
    with pytest.raises(UnicodeEncodeError):
        atomic_write(file, "\ud800")
    assert file.read_text("utf-8") == "before"
