"""One file under several names."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.breakhis_example_gen.image_file import ImageFile
from pipeline.data.find_copies import find_copies


def image(path: str, patient: str) -> ImageFile:
    return ImageFile(path, "benign", patient)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in {"a": b"same", "b": b"same", "c": b"same", "d": b"diff", "e": b"longer"}.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def test_copies_of_several_patients_are_told(folder: Path) -> None:
    images = [image("a", "1"), image("b", "2"), image("c", "1"), image("d", "3"), image("e", "4")]
    assert find_copies(folder, images) == ["the same file under several patients: a, b, c"]


def test_copies_of_one_patient_are_not(folder: Path) -> None:
    assert find_copies(folder, [image("a", "1"), image("b", "1"), image("d", "2")]) == []


def test_no_more_is_read_than_may_be(folder: Path) -> None:
    images = [image("a", "1"), image("b", "2")]
    assert find_copies(folder, images, max_bytes=7) is None
    assert find_copies(folder, images, max_bytes=8) == ["the same file under several patients: a, b"]


def test_files_of_another_size_are_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> bytes:
        raise AssertionError(path)

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert find_copies(folder, [image("a", "1"), image("e", "2")]) == []
