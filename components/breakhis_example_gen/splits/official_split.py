"""Makes a split by patient of an official fold, which goes by image."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from components.breakhis_example_gen.image_file import ImageFile
from components.breakhis_example_gen.splits.divide_class import divide_class
from components.breakhis_example_gen.splits.read_official_fold import FoldRow
from pipeline.errors import UserError

_LISTED = 5  # names in one note


def official_split(
    images: Collection[ImageFile],
    order: Mapping[str, Sequence[str]],
    rows: Collection[FoldRow],
    *,
    file: Path,
    validation_share: float,
) -> tuple[dict[str, str], list[str]]:
    """The split of each patient by an official fold, and what to know about it.

    Official folds go by slide, and put slides of one patient in both train and test: that patient is leaked.
    Here a patient is never split: all images of a leaked one are for test. So whatever the fold tests is
    tested, nothing leaks, and there is less to train on than in the fold. Folds know no validation: it is
    taken from train.

    Args:
        images: of the data.
        order: the patients of each class (`patient_order`).
        rows: of the fold.
        file: where the fold stands.
        validation_share: of the patients for train, class by class and at least one.

    Raises:
        UserError: a patient of the data is not in the fold, or a class has no patient for test, or fewer than
            two for train and validation.
    """
    stated: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        stated[row.patient].add(row.split)
    patients = [patient for of_class in order.values() for patient in of_class]
    unknown = sorted(patient for patient in patients if patient not in stated)
    if unknown:
        raise UserError(
            f"{file} has no image of {len(unknown)} patients of the data: {', '.join(unknown)}; take their "
            "images out of the data, or take data.split.file out to have a split made"
        )
    assignment: dict[str, str] = {}
    for label, of_class in order.items():
        test = [patient for patient in of_class if "test" in stated[patient]]
        others = [patient for patient in of_class if "test" not in stated[patient]]
        if not test or len(others) < 2:
            raise UserError(
                f"{file} leaves {len(test)} {label} patients for test and {len(others)} for train and "
                "validation, where those that it puts in both are for test; one and two are needed at least"
            )
        assignment |= divide_class(test, others, validation_share=validation_share)
    leaked = sorted(patient for patient in patients if len(stated[patient]) > 1)
    return assignment, [*_leak_note(leaked, file), *_difference_notes(images, rows, file)]


def _leak_note(leaked: Sequence[str], file: Path) -> list[str]:
    if not leaked:
        return []
    return [
        f"{file.name} leaks {len(leaked)} patients, with images in both train and test: {', '.join(leaked)}; "
        "here all their images are for test, since a patient is never split"
    ]


def _difference_notes(images: Collection[ImageFile], rows: Collection[FoldRow], file: Path) -> list[str]:
    names = {image.path.rpartition("/")[2] for image in images}
    absent = [f"{row.name} in line {row.line}" for row in rows if row.name not in names]
    further = sorted(names - {row.name for row in rows})
    notes = []
    if absent:
        notes.append(f"{len(absent)} images of {file.name} are not in the data, or left out: {_some(absent)}")
    if further:
        notes.append(
            f"{len(further)} images are not in {file.name} and go with their patients: {_some(further)}"
        )
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
