"""Which files are asked about."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pipeline.errors import UserError
from pipeline.predict.list_files import list_files


def test_files_folders_and_names_on_standard_input(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    stdin = io.StringIO("x y.png\n\nb.png\n")
    files, passed_over = list_files(["gone.png", "-", str(tmp_path), "gone.png"], stdin=stdin)
    assert files == [Path("gone.png"), Path("x y.png"), Path("b.png"), tmp_path / "a.png", tmp_path / "b.png"]
    assert passed_over == {str(tmp_path): 1}


def test_no_files() -> None:
    with pytest.raises(UserError, match="standard input names no image"):
        list_files(["-"], stdin=io.StringIO("\n"))
