"""Drafts of manifests from patterns of paths."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from knet.base.errors import UserError
from knet.data.folders import Folder
from knet.data.manifest import read_manifest
from knet.data.manifest_draft import ManifestDraft, draft_manifest
from pipeline.commands import main

PARENT = r"([^/]+)/[^/]+$"
BEFORE_UNDERSCORE = r"([^/_]+)_[^/]*$"
Draft = Callable[..., ManifestDraft]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "train/cat/p1_1.png",
        "train/cat/p1_2.JPG",
        "test/dog/p2_1.tif",
        "notes.txt",
        "@eaDir/x.png",
    ):
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(b"1")
    return tmp_path / "tree"


def test_draft_manifest_takes_labels_and_groups_from_paths(tree: Path, tmp_path: Path) -> None:
    draft = draft_manifest(tree, label_pattern=PARENT, group_pattern=BEFORE_UNDERSCORE)
    assert draft.rows == (
        ("test/dog/p2_1.tif", "dog", "p2"),
        ("train/cat/p1_1.png", "cat", "p1"),
        ("train/cat/p1_2.JPG", "cat", "p1"),
    )
    assert draft.counts == {"cat": (2, 1), "dog": (1, 1)} and draft.notes == []
    draft.write(tmp_path / "new" / "manifest.csv")
    images = read_manifest(tmp_path / "new" / "manifest.csv", Folder(tree), classes=("cat", "dog"))
    assert [(image.path, image.label, image.patient) for image, _ in images] == list(draft.rows)


def test_draft_manifest_accepts_named_groups(tree: Path) -> None:
    pattern = r"(?P<label>cat|dog)/(?P<group>p\d)_"
    draft = draft_manifest(tree, label_pattern=pattern, group_pattern=pattern)
    assert draft.rows[0] == ("test/dog/p2_1.tif", "dog", "p2")


def test_draft_manifest_of_breakhis_names_takes_its_patients(tmp_path: Path) -> None:
    (tmp_path / "benign").mkdir()
    (tmp_path / "benign" / "SOB_B_A-14-22549AB-40-001.png").touch()
    (row,) = draft_manifest(tmp_path, label_pattern=PARENT, group_pattern=None).rows
    assert row[1:] == ("benign", "14-22549")


@pytest.mark.parametrize(
    ("label", "group", "message"),
    [
        (PARENT, None, r"outside the grammar .*--group-from, a regular expression such as"),
        (PARENT, "(p1)_", r"(?s)--group-from '\(p1\)_' matches nothing in 1 path.*test/dog/p2_1\.tif"),
        ("(cat", BEFORE_UNDERSCORE, r"--label-from '\(cat' is no regular expression"),
        (
            "cat",
            BEFORE_UNDERSCORE,
            r"--label-from 'cat' must have one group in parentheses, or one named label",
        ),
        ("(c)(a)t", BEFORE_UNDERSCORE, "must have one group"),
    ],
)
def test_draft_manifest_refuses_patterns(tree: Path, label: str, group: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        draft_manifest(tree, label_pattern=label, group_pattern=group)


def test_draft_manifest_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no image: expected files that end in .bmp"):
        draft_manifest(tmp_path, label_pattern=PARENT, group_pattern=None)
    with pytest.raises(UserError, match="none: no such folder"):
        draft_manifest(tmp_path / "none", label_pattern=PARENT, group_pattern=None)


@pytest.mark.parametrize(
    ("group", "note"),
    [
        (r"([^/]+)\.[^.]*$", "every image is a group of its own"),
        (r"(p)\d_", "1 group with images of several labels, such as 'p': a run refuses them"),
    ],
)
def test_draft_notes_groups_that_make_no_sense(tree: Path, group: str, note: str) -> None:
    notes = draft_manifest(tree, label_pattern=PARENT, group_pattern=group).notes
    assert len(notes) == 1 and note in notes[0]


def test_manifest_command_previews_and_writes(tree: Path, tmp_path: Path) -> None:
    command = ["data", "manifest", str(tree), "--group-from", BEFORE_UNDERSCORE]
    preview = CliRunner().invoke(main.cli, command, catch_exceptions=False)
    assert "train/cat/p1_1.png: cat, group p1\n" in preview.output
    assert "cat: 2 images, 1 group\n" in preview.output and "nothing written" in preview.output
    file = tmp_path / "manifest.csv"
    written = CliRunner().invoke(main.cli, [*command, "--output", str(file)], catch_exceptions=False)
    assert f"written: {file}; knet run --data {file} --set data.root={tree}" in written.output
    assert file.read_text("utf-8").startswith("path,label,group\ntest/dog/p2_1.tif,dog,p2\n")
