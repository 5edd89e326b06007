"""Input files of `knet predict` and their patients."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from knet.base.errors import UserError
from pipeline.commands.prediction_io import list_files, patient_by_file


def test_list_files_of_files_folders_and_standard_input(tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "notes.txt"):
        (tmp_path / name).touch()
    stdin = io.StringIO("\ufeffx y.png\r\n\r\nb.png\n")  # as Windows writes it
    files, ignored = list_files(["gone.png", "-", str(tmp_path), "gone.png"], stdin=stdin)
    assert files == [Path("gone.png"), Path("x y.png"), Path("b.png"), tmp_path / "a.png", tmp_path / "b.png"]
    assert ignored == [tmp_path / "notes.txt"]


def test_list_files_without_files_is_an_error() -> None:
    with pytest.raises(UserError, match="standard input names no image"):
        list_files(["-"], stdin=io.StringIO("\n"))


ADENOSIS = Path("x/SOB_B_A-14-22549AB-40-001.png")


def test_patient_by_file_from_breakhis_names() -> None:
    other = Path("SOB_M_DC-14-2523-400-009.png")
    assert patient_by_file([ADENOSIS, other], "breakhis") == {ADENOSIS: "14-22549", other: "14-2523"}
    with pytest.raises(UserError, match=r"the patient of 1 image is unknown:\n  a\.png: the name is outside"):
        patient_by_file([ADENOSIS, Path("a.png")], "breakhis")


def test_patient_by_file_from_csv(tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("path,label,group\nin/a.png,benign,P 1\nb.png,malignant,P 2\n")
    images = [tmp_path / "in" / "a.png", tmp_path / "in" / ".." / "b.png"]
    assert patient_by_file(images, str(tmp_path / "m.csv")) == dict(zip(images, ("P 1", "P 2"), strict=True))
    with pytest.raises(UserError, match=r"c\.png: .*m\.csv has no row for it\nleave them out"):
        patient_by_file([tmp_path / "c.png"], str(tmp_path / "m.csv"))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"path,label\na.png,benign\n", "lacks the column group: .*it names 'path', 'label'"),
        (b"path,group\n", "has no rows"),
        (b"path,group\na.png,\n", "or one without group"),
        (b"path,group\na.png\n", "line 2: 1 values for 2 columns"),
        (b"\xff", "is not a text file in UTF-8"),
        (b'path,group\n"a', "line 2: not CSV"),
    ],
)
def test_patient_by_file_rejects_bad_csv(tmp_path: Path, content: bytes, text: str) -> None:
    (tmp_path / "m.csv").write_bytes(content)
    with pytest.raises(UserError, match=text):
        patient_by_file([tmp_path / "a.png"], str(tmp_path / "m.csv"))


def test_patient_by_file_missing_csv_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m\.csv: no such file; give breakhis or a CSV file"):
        patient_by_file([tmp_path / "a.png"], str(tmp_path / "m.csv"))
