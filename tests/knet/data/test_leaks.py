"""Duplicates across splits, and duplicate files."""

from __future__ import annotations

from pathlib import Path

import pytest

from knet.base.errors import UserError
from knet.data.leaks import check_leaks, find_duplicate_files
from knet.data.source import ImageFile


def group(*splits: str) -> list[dict[str, str]]:
    return [{"path": f"{split}.png", "patient": split[0], "split": split} for split in splits]


@pytest.mark.parametrize(
    "duplicates", [[], [group("train")], [group("train", "train"), group("test", "test")]]
)
def test_check_leaks_accepts_duplicates_within_a_split(duplicates: list[list[dict[str, str]]]) -> None:
    check_leaks(duplicates, allowed=False, location="/data")


def test_check_leaks_refuses_duplicates_across_splits() -> None:
    duplicates = [group("train", "train"), group("train", "test")]
    with pytest.raises(UserError) as caught:
        check_leaks(duplicates, allowed=False, location="/data")
    assert str(caught.value).splitlines() == [
        "1 images of /data are in several splits, under several patients:",
        "  train.png (t, train), test.png (t, test)",
        "leave one copy of each, or put its patients into one; "
        "data.allow_cross_split_duplicates=true only reports them",
    ]


def test_check_leaks_accepts_allowed_duplicates() -> None:
    check_leaks([group("train", "test")], allowed=True, location="/data")


def image(path: str, patient: str) -> ImageFile:
    return ImageFile(path, "benign", patient)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {"a": b"same", "b": b"same", "c": b"same", "d": b"diff", "e": b"longer"}.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_find_duplicate_files_of_several_patients(folder: Path) -> None:
    images = [image("a", "1"), image("b", "2"), image("c", "1"), image("d", "3"), image("e", "4")]
    assert find_duplicate_files(folder, images) == ["the same file under several patients: a, b, c"]


def test_find_duplicate_files_ignores_those_of_one_patient(folder: Path) -> None:
    assert find_duplicate_files(folder, [image("a", "1"), image("b", "1"), image("d", "2")]) == []


def test_find_duplicate_files_stops_above_max_bytes(folder: Path) -> None:
    images = [image("a", "1"), image("b", "2")]
    assert find_duplicate_files(folder, images, max_bytes=7) is None
    assert find_duplicate_files(folder, images, max_bytes=8) == ["the same file under several patients: a, b"]


def test_find_duplicate_files_reads_only_files_of_equal_size(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> bytes:
        raise AssertionError(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert find_duplicate_files(folder, [image("a", "1"), image("e", "2")]) == []
