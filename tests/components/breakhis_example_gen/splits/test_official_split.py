"""From a fold by image to a split by patient."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.splits.official_split import official_split
from components.breakhis_example_gen.splits.read_official_fold import FoldRow
from pipeline.errors import UserError

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


def test_leaked_patients_are_for_test_and_named() -> None:
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
def test_what_the_fold_tests_is_tested_and_nobody_is_lost(
    further: dict[str, list[str]], validation_share: float
) -> None:
    rows = rows_of({**FOLD, **further})
    assignment, _ = split(rows, images_of(rows), validation_share)
    assert assignment.keys() == {row.patient for row in rows}
    assert all(assignment[row.patient] == "test" for row in rows if row.split == "test")
    tested = {row.patient for row in rows if row.split == "test"}
    assert tested == {patient for patient, name in assignment.items() if name == "test"}


def test_images_of_the_fold_that_are_not_in_the_data_are_noted_with_their_lines() -> None:
    rows = rows_of({**FOLD, "b1": ["train"] * 9})
    _, notes = split(rows, images_of([*rows[:2], *rows[9:]]))
    assert notes[1] == (
        "7 images of dsfold1.txt are not in the data, or left out: b1-2.png in line 3, b1-3.png in line 4, "
        "b1-4.png in line 5, b1-5.png in line 6, b1-6.png in line 7, ..."
    )


def test_images_that_are_not_in_the_fold_are_noted() -> None:
    rows = rows_of(FOLD)
    _, notes = split(rows, [*images_of(rows), ImageFile("somewhere/new.png", "any", "b1")])
    assert notes[1] == "1 images are not in dsfold1.txt and go with their patients: new.png"


def test_patients_that_are_not_in_the_fold_are_refused() -> None:
    rows = rows_of(FOLD)
    images = [*images_of(rows), ImageFile("new.png", "any", "b9")]
    with pytest.raises(
        UserError, match=r"folds/dsfold1\.txt has no image of 1 patients of the data: b9; take"
    ):
        split(rows, images)


@pytest.mark.parametrize(
    ("change", "left"),
    [
        ({"b3": ["train"], "b4": ["train"]}, "0 benign patients for test and 4 for train and validation"),
        ({"m1": ["test"]}, "2 malignant patients for test and 1 for train and validation"),
    ],
)
def test_a_class_that_cannot_be_everywhere_is_refused(change: dict[str, list[str]], left: str) -> None:
    rows = rows_of({**FOLD, **change})
    with pytest.raises(UserError, match=rf"folds/dsfold1\.txt leaves {left}"):
        split(rows, images_of(rows))
