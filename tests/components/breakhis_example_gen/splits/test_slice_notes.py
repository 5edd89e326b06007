"""What a split cannot have everywhere is told."""

from __future__ import annotations

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.splits.slice_notes import slice_notes

ASSIGNMENT = {"1": "train", "2": "validation", "3": "test", "4": "train"}


def notes(*values: tuple[str, str]) -> list[str]:
    """Of images that have a patient and a subtype each."""
    images = [
        ImageFile(f"{patient}.png", "benign", patient, (("subtype", subtype), ("slide", patient)))
        for patient, subtype in values
    ]
    return slice_notes(images, ASSIGNMENT, slices=("magnification", "subtype"))


def test_a_slice_that_is_everywhere_has_no_note() -> None:
    assert notes(("1", "adenosis"), ("2", "adenosis"), ("3", "adenosis")) == []


def test_a_slice_of_too_few_patients_is_told_with_what_misses_it() -> None:
    assert notes(("1", "adenosis"), ("1", "adenosis"), ("3", "adenosis")) == [
        "subtype adenosis: 2 patients, too few for three splits; none in validation"
    ]
    assert notes(("4", "adenosis")) == [
        "subtype adenosis: 1 patient, too few for three splits; none in validation and test"
    ]


def test_a_slice_that_chance_left_out_is_told() -> None:
    assert notes(("1", "adenosis"), ("4", "adenosis"), ("3", "adenosis")) == [
        "subtype adenosis: 3 patients; none in validation"
    ]


def test_columns_that_are_no_slices_and_slices_that_are_no_columns_do_not_matter() -> None:
    assert notes(("1", "a"), ("2", "a"), ("3", "a"), ("4", "a")) == []
