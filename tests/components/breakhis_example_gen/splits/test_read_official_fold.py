"""Fold files, well made and otherwise."""

from __future__ import annotations

from pathlib import Path

import pytest

from components.breakhis_example_gen.splits.read_official_fold import FoldRow, read_official_fold
from pipeline.errors import UserError

FILE = Path("dsfold3.txt")
LINE = "SOB_M_DC-14-13412-100-001.png|100|3|train"
OTHER = "SOB_B_A-14-22549AB-40-002.png|40|3|test"
ROWS = [
    FoldRow(1, "SOB_M_DC-14-13412-100-001.png", "14-13412", "train"),
    FoldRow(2, "SOB_B_A-14-22549AB-40-002.png", "14-22549", "test"),
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_lines_as_they_are_published(end: str) -> None:
    assert read_official_fold(f"{LINE}{end}{OTHER}{end}", FILE) == (3, ROWS)


def test_blank_lines_count_but_say_nothing() -> None:
    number, rows = read_official_fold(f"\n{LINE}\n\n{OTHER}\n\n", FILE)
    assert (number, [row.line for row in rows]) == (3, [2, 4])


@pytest.mark.parametrize("magnification", ["maginfication", "magnification"])
def test_a_table(magnification: str) -> None:
    header = f"filename,{magnification},number,split"
    text = "\n".join([header, LINE.replace("|", ","), OTHER.replace("|", ",")])
    number, rows = read_official_fold(text, FILE)
    assert (number, [(row.line, row.name, row.split) for row in rows]) == (
        3,
        [(2, ROWS[0].name, "train"), (3, ROWS[1].name, "test")],
    )


def test_the_table_of_all_images(shared_data: Path) -> None:
    file = shared_data / "breakhis_manifest" / "dsfold1_table.csv"
    number, rows = read_official_fold(file.read_text("utf-8"), file)
    assert (number, len(rows)) == (1, 7909)
    assert sum(row.split == "test" for row in rows) == 2904


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("SOB_B_A-14-1-40-001.png|40|3", "3 fields instead of 4"),
        ("SOB_B_A-14-1-40-001.png|40|3|test|x", "5 fields instead of 4"),
        ("scan.png|40|3|test", "the name is outside the grammar"),
        ("SOB_B_A-14-1-40-001.png|100|3|test", "magnification 100, but SOB_B_A-14-1-40-001.png"),
        ("SOB_B_A-14-1-40-001.png|40|three|test", "'three' instead of the fold's number"),
        ("SOB_B_A-14-1-40-001.png|40|3|validation", "'validation' instead of train or test"),
        (LINE, "SOB_M_DC-14-13412-100-001.png stands in line 1 too"),
    ],
)
def test_a_malformed_line_is_told_with_its_number(line: str, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        read_official_fold(f"{LINE}\n{OTHER}\n{line}\n", FILE)
    assert str(caught.value).startswith(f"dsfold3.txt is not an official fold:\n  line 3: {problem}")


def test_of_many_malformed_lines_ten_are_listed() -> None:
    with pytest.raises(UserError) as caught:
        read_official_fold("\n".join(["x|y"] * 25), FILE)
    assert len(str(caught.value).splitlines()) == 12
    assert "and 15 more" in str(caught.value)


@pytest.mark.parametrize("text", ["filename,split\n", "[1, 2]", "path,label,group\n"])
def test_a_table_of_something_else_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"dsfold3\.txt is neither a split file of ours nor an official fold"):
        read_official_fold(text, FILE)


@pytest.mark.parametrize("field", ["x" * 200_000, "\0"], ids=["long", "nul"])
def test_what_is_no_csv_is_told_with_its_line(field: str) -> None:
    with pytest.raises(UserError, match=r"^dsfold3\.txt") as caught:
        read_official_fold(f"filename,magnification,number,split\n{field},40,3,test\n", FILE)
    assert "line 2: " in str(caught.value)


def test_a_header_alone_is_refused() -> None:
    with pytest.raises(UserError, match=r"dsfold3\.txt holds no images"):
        read_official_fold("filename,maginfication,number,split\n", FILE)


def test_two_folds_in_a_file_are_refused() -> None:
    with pytest.raises(UserError, match=r"dsfold3\.txt holds folds 3, 4; give a file of one fold"):
        read_official_fold(f"{LINE}\n{OTHER.replace('|3|', '|4|')}", FILE)
