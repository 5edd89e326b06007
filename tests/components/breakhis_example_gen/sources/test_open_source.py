"""Which source a path is."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.breakhis_example_gen.sources.folder import Folder
from components.breakhis_example_gen.sources.open_source import open_source
from pipeline.errors import UserError


def test_a_folder_is_a_source_under_its_real_name(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("data", target_is_directory=True)
    assert open_source(tmp_path / "link") == Folder(tmp_path / "data")


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"no such data folder or archive: {tmp_path}/none.zip"):
        open_source(tmp_path / "none.zip")


def test_a_file_of_another_kind_is_named_with_what_is_expected(tmp_path: Path) -> None:
    (tmp_path / "data.rar").touch()
    with pytest.raises(UserError, match=r"data\.rar: expected a folder, a \.zip, \.tar, \.tar\.gz or \.tgz"):
        open_source(tmp_path / "data.rar")
