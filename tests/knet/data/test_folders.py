"""Folders as sources."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knet.base.errors import UnusableError, UserError
from knet.data.folders import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    root = tmp_path / "root"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "b" / "x.png").write_bytes(b"123")
    (root / "a" / "c.png").write_bytes(b"1")
    (root / "a.txt").touch()
    return Folder(root)


def test_folder_lists_files_with_sizes(folder: Folder) -> None:
    assert list(folder.files().items()) == [("a.txt", 0), ("a/b/x.png", 3), ("a/c.png", 1)]


def test_folder_reads_a_file_by_name(folder: Folder) -> None:
    with folder.open() as reader:
        assert reader.read("a/b/x.png") == b"123"


def test_folder_needs_no_copy_for_random_access(folder: Folder, tmp_path: Path) -> None:
    with folder.random_access(tmp_path) as source:
        assert source is folder


def test_folder_below_has_shorter_names(folder: Folder) -> None:
    assert list(folder.below("a").files()) == ["b/x.png", "c.png"]


def test_folder_finds_existing_files_only(folder: Folder) -> None:
    assert dict(folder.find(["a/b", "a/c.png", "a/none.png"])) == {"a/c.png": 1}


def test_folder_skips_hidden_folders(folder: Folder) -> None:
    (folder.location / ".cache").mkdir()
    (folder.location / ".cache" / "x.png").touch()
    assert ".cache/x.png" not in folder.files()


def test_folder_follows_links_within_it(folder: Folder) -> None:
    (folder.location / "d").symlink_to("a/b", target_is_directory=True)
    (folder.location / "e.png").symlink_to("a/c.png")
    files = folder.files()
    assert (files["d/x.png"], files["e.png"]) == (3, 1)


@pytest.mark.parametrize("target", ["/etc", "..", ".hidden"])
def test_folder_skips_hidden_links(folder: Folder, target: str) -> None:
    before = folder.files()
    (folder.location / "a" / ".hidden").symlink_to(target)
    assert folder.files() == before


@pytest.mark.parametrize("target", ["../outside", "../outside/x.png", "/etc", "../nowhere"])
def test_folder_refuses_a_link_that_leads_out(folder: Folder, tmp_path: Path, target: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "x.png").touch()
    link = folder.location / "a" / "link"
    link.symlink_to(target if target.startswith("/") else f"../{target}")
    with pytest.raises(UserError, match=f"{link} is a link that leads out of {folder.location}"):
        folder.files()
    for name in ("a/link", "a/link/x.png"):
        with pytest.raises(UserError, match=f"{link} is a link that leads out of {folder.location}"):
            list(folder.find([name]))


def test_folder_refuses_a_link_to_its_parent(folder: Folder) -> None:
    (folder.location / "a" / "b" / "up").symlink_to("../..", target_is_directory=True)
    with pytest.raises(UserError, match=r"a/b/up is a link to a folder that holds it"):
        folder.files()


def test_folder_refuses_links_into_each_other(folder: Folder) -> None:
    (folder.location / "z").mkdir()
    (folder.location / "z" / "to_a").symlink_to("../a", target_is_directory=True)
    (folder.location / "a" / "to_z").symlink_to("../z", target_is_directory=True)
    with pytest.raises(UserError, match="is a link to a folder that holds it"):
        folder.files()


def test_folder_refuses_a_loop_of_links(folder: Folder) -> None:
    (folder.location / "one").symlink_to("two")
    (folder.location / "two").symlink_to("one")
    with pytest.raises(UserError, match="is a link that leads out"):
        folder.files()


def test_folder_lists_a_broken_link_as_unusable(folder: Folder) -> None:
    (folder.location / "gone.png").symlink_to("a/none.png")
    assert folder.files()["gone.png"] == 0
    with folder.open() as reader, pytest.raises(UnusableError, match="a link that leads nowhere"):
        reader.read("gone.png")


def test_folder_lists_a_pipe_without_blocking(folder: Folder) -> None:
    os.mkfifo(folder.location / "pipe.png")
    assert folder.files()["pipe.png"] == 0
    with folder.open() as reader, pytest.raises(UnusableError, match="not a file"):
        reader.read("pipe.png")


def test_folder_with_a_removed_file_is_unusable(folder: Folder) -> None:
    with folder.open() as reader, pytest.raises(UnusableError):
        reader.read("a/none.png")
