"""Official folds and the splits by patient made of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knet.base.errors import UserError
from knet.data.official_folds import FoldRow, official_split, read_official_fold
from knet.data.source import ImageFile

FILE = Path("folds/dsfold1.txt")
# Patient and splits of its images.
FOLD = {
    "b1": ["train"], "b2": ["train", "train"], "b3": ["test"], "b4": ["train", "test"],
    "m1": ["train"], "m2": ["train"], "m3": ["test", "train"],
}  # fmt: skip


def rows_of(fold: dict[str, list[str]]) -> list[FoldRow]:
    names = [
        (f"{patient}-{i}.png", patient, split) for patient, of in fold.items() for i, split in enumerate(of)
    ]
    return [FoldRow(line, *fields) for line, fields in enumerate(names, start=1)]


def images_of(rows: list[FoldRow]) -> list[ImageFile]:
    return [ImageFile(f"somewhere/{row.name}", "any", row.patient) for row in rows]


def split(
    rows: list[FoldRow], images: list[ImageFile], validation_share: float = 0.2
) -> tuple[dict[str, str], list[str]]:
    patients = sorted({image.patient for image in images})
    order = {label: [p for p in patients if p.startswith(label[0])] for label in ("benign", "malignant")}
    return official_split(images, order, rows, file=FILE, validation_share=validation_share)


def test_official_split_tests_and_names_leaked_patients() -> None:
    rows = rows_of(FOLD)
    assignment, notes = split(rows, images_of(rows))
    assert assignment == {
        "b1": "validation", "b2": "train", "b3": "test", "b4": "test",
        "m1": "validation", "m2": "train", "m3": "test",
    }  # fmt: skip
    assert notes == [
        "dsfold1.txt leaks 2 patients, with images in both train and test: b4, m3; here all their images are "
        "for test, since a patient is never split"
    ]


splits_of_images = st.lists(st.sampled_from(("train", "test")), min_size=1, max_size=4)


@given(
    st.dictionaries(st.from_regex(r"[bm][3-9][0-9]", fullmatch=True), splits_of_images), st.floats(0.01, 0.99)
)
def test_official_split_tests_what_the_fold_tests(
    further: dict[str, list[str]], validation_share: float
) -> None:
    rows = rows_of({**FOLD, **further})
    assignment, _ = split(rows, images_of(rows), validation_share)
    assert assignment.keys() == {row.patient for row in rows}
    assert all(assignment[row.patient] == "test" for row in rows if row.split == "test")
    tested = {row.patient for row in rows if row.split == "test"}
    assert tested == {patient for patient, name in assignment.items() if name == "test"}


def test_official_split_notes_absent_images_with_lines() -> None:
    rows = rows_of({**FOLD, "b1": ["train"] * 9})
    _, notes = split(rows, images_of([*rows[:2], *rows[9:]]))
    assert notes[1] == (
        "7 images of dsfold1.txt are not in the data, or excluded: b1-2.png in line 3, b1-3.png in line 4, "
        "b1-4.png in line 5, b1-5.png in line 6, b1-6.png in line 7, ..."
    )


def test_official_split_notes_images_outside_the_fold() -> None:
    rows = rows_of(FOLD)
    _, notes = split(rows, [*images_of(rows), ImageFile("somewhere/new.png", "any", "b1")])
    assert notes[1] == "1 images are not in dsfold1.txt and go with their patients: new.png"


def test_official_split_with_unknown_patients_is_refused() -> None:
    rows = rows_of(FOLD)
    images = [*images_of(rows), ImageFile("new.png", "any", "b9")]
    with pytest.raises(
        UserError, match=r"folds/dsfold1\.txt has no image of 1 patients of the data: b9; remove"
    ):
        split(rows, images)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"b3": ["train"], "b4": ["train"]}, "0 benign patients for test and 4 for train and validation"),
        ({"m1": ["test"]}, "2 malignant patients for test and 1 for train and validation"),
    ],
)
def test_official_split_without_a_class_is_refused(change: dict[str, list[str]], left: str) -> None:
    rows = rows_of({**FOLD, **change})
    with pytest.raises(UserError, match=rf"folds/dsfold1\.txt leaves {left}"):
        split(rows, images_of(rows))


FOLD_FILE = Path("dsfold3.txt")
LINE = "SOB_M_DC-14-13412-100-001.png|100|3|train"
OTHER = "SOB_B_A-14-22549AB-40-002.png|40|3|test"
ROWS = [
    FoldRow(1, "SOB_M_DC-14-13412-100-001.png", "14-13412", "train"),
    FoldRow(2, "SOB_B_A-14-22549AB-40-002.png", "14-22549", "test"),
]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_read_official_fold_of_published_lines(end: str) -> None:
    assert read_official_fold(f"{LINE}{end}{OTHER}{end}", FOLD_FILE) == (3, ROWS)


def test_read_official_fold_counts_blank_lines() -> None:
    number, rows = read_official_fold(f"\n{LINE}\n\n{OTHER}\n\n", FOLD_FILE)
    assert (number, [row.line for row in rows]) == (3, [2, 4])


@pytest.mark.parametrize("magnification", ["maginfication", "magnification"])
def test_read_official_fold_of_a_table(magnification: str) -> None:
    header = f"filename,{magnification},number,split"
    text = "\n".join([header, LINE.replace("|", ","), OTHER.replace("|", ",")])
    number, rows = read_official_fold(text, FOLD_FILE)
    assert (number, [(row.line, row.name, row.split) for row in rows]) == (
        3,
        [(2, ROWS[0].name, "train"), (3, ROWS[1].name, "test")],
    )


def test_read_official_fold_of_all_images(shared_data: Path) -> None:
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
        (LINE, "SOB_M_DC-14-13412-100-001.png is in line 1 too"),
    ],
)
def test_read_official_fold_names_a_malformed_line(line: str, problem: str) -> None:
    with pytest.raises(UserError) as caught:
        read_official_fold(f"{LINE}\n{OTHER}\n{line}\n", FOLD_FILE)
    assert str(caught.value).startswith(f"dsfold3.txt is not an official fold:\n  line 3: {problem}")


def test_read_official_fold_lists_ten_malformed_lines() -> None:
    with pytest.raises(UserError) as caught:
        read_official_fold("\n".join(["x|y"] * 25), FOLD_FILE)
    assert len(str(caught.value).splitlines()) == 12
    assert "and 15 more" in str(caught.value)


@pytest.mark.parametrize("text", ["filename,split\n", "[1, 2]", "path,label,group\n"])
def test_read_official_fold_of_another_table_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"dsfold3\.txt is neither a frozen split nor an official fold"):
        read_official_fold(text, FOLD_FILE)


@pytest.mark.parametrize("field", ["x" * 200_000, "\0"], ids=["long", "nul"])
def test_read_official_fold_names_the_line_that_is_no_csv(field: str) -> None:
    with pytest.raises(UserError, match=r"^dsfold3\.txt") as caught:
        read_official_fold(f"filename,magnification,number,split\n{field},40,3,test\n", FOLD_FILE)
    assert "line 2: " in str(caught.value)


def test_read_official_fold_of_a_header_alone_is_refused() -> None:
    with pytest.raises(UserError, match=r"dsfold3\.txt holds no images"):
        read_official_fold("filename,maginfication,number,split\n", FOLD_FILE)


def test_read_official_fold_of_two_folds_is_refused() -> None:
    with pytest.raises(UserError, match=r"dsfold3\.txt holds folds 3, 4; give a file of one fold"):
        read_official_fold(f"{LINE}\n{OTHER.replace('|3|', '|4|')}", FOLD_FILE)
