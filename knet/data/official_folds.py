"""Official BreaKHis folds (`dsfold1.txt`): read one, and make a split by patient of it."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.text import list_problems
from knet.data.breakhis import parse_name
from knet.data.grouping import PatientsByClass, check_every_class, split_class, strata
from knet.data.source import ImageFile

_LISTED = 5  # names in one note


def official_split(
    images: Collection[ImageFile],
    patients: PatientsByClass,
    rows: Collection[FoldRow],
    *,
    file: Path,
    validation_share: float,
) -> tuple[dict[str, str], list[str]]:
    """Assign each patient to a split by an official fold.

    Official folds split slides, and leak patients with slides in both train and test. Here all images of such
    a patient are for test: everything that the fold tests is tested, nothing leaks, and the training set is
    smaller than the fold's. Validation patients, which folds lack, are taken from train.

    Args:
        images: Images of the data set.
        patients: Patients of each class (`patients_by_class`).
        rows: Rows of the fold.
        file: Path of the fold, for messages.
        validation_share: Fraction of the training patients for validation, class by class and at least one.

    Returns:
        Split by patient, and notes on leaked patients and on images that only one side has.

    Raises:
        UserError: A patient of the data is not in the fold, or a class has no patient for test, or fewer than
            two for train and validation.
    """
    fold_splits: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        fold_splits[row.patient].add(row.split)
    groups = strata(patients)
    all_patients = [patient for members in groups.values() for patient in members]
    unknown = sorted(patient for patient in all_patients if patient not in fold_splits)
    if unknown:
        raise UserError(
            f"{file} has no image of {len(unknown)} patients of the data: {', '.join(unknown)}; remove "
            "their images from the data, or remove data.split.file to have a split made"
        )
    assignment: dict[str, str] = {}
    for label, members in patients.items():
        test, rest = _divide(members, fold_splits)
        if not test or len(rest) < 2:
            raise UserError(
                f"{file} leaves {len(test)} {label} patients for test and {len(rest)} for train and "
                "validation, where those that it puts in both are for test; one and two are needed at least"
            )
    for members in groups.values():
        test, rest = _divide(members, fold_splits)
        assignment |= split_class(test, rest, validation_share=validation_share)
    check_every_class(patients, assignment)
    leaked = sorted(patient for patient in all_patients if len(fold_splits[patient]) > 1)
    return assignment, [*_leak_note(leaked, file), *_difference_notes(images, rows, file)]


def _divide(
    patients: Sequence[str], fold_splits: Mapping[str, Collection[str]]
) -> tuple[list[str], list[str]]:
    """Return the patients that a fold has for test, and the others."""
    test = [patient for patient in patients if schema_names.TEST in fold_splits[patient]]
    return test, [patient for patient in patients if schema_names.TEST not in fold_splits[patient]]


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
        notes.append(f"{len(absent)} images of {file.name} are not in the data, or excluded: {_some(absent)}")
    if further:
        notes.append(
            f"{len(further)} images are not in {file.name} and go with their patients: {_some(further)}"
        )
    return notes


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")


_SPLITS = (schema_names.TRAIN, schema_names.TEST)


@dataclass(frozen=True)
class FoldRow:
    """Row of a fold: one image and its split."""

    line: int  # number in the file, from 1
    name: str  # file name of the image
    patient: str
    split: str  # train or test


def read_official_fold(text: str, file: Path) -> tuple[int, list[FoldRow]]:
    """Parse an official fold.

    Args:
        text: Content of the file: lines `filename|magnification|fold|train-or-test` without a header, as in
            `dsfold1.txt`, or CSV with a header and the same four columns, the first named `filename` and the
            last `split`.
        file: Path of the file, for messages.

    Returns:
        Number of the fold, and its rows.

    Raises:
        UserError: Lines are malformed, contradictory or missing; the message lists their numbers.
    """
    rows: dict[str, FoldRow] = {}
    numbers: set[int] = set()
    problems = []
    for line, fields in _fields(text, file):
        try:
            row, number = _row(line, fields)
            if row.name in rows:
                raise ValueError(f"{row.name} is in line {rows[row.name].line} too")
        except ValueError as error:
            problems.append(f"line {line}: {error}")
            continue
        rows[row.name] = row
        numbers.add(number)
    if problems:
        raise UserError(list_problems(f"{file} is not an official fold", problems))
    if len(numbers) != 1:
        found = f"folds {', '.join(map(str, sorted(numbers)))}" if numbers else "no images"
        raise UserError(f"{file} holds {found}; give a file of one fold")
    return numbers.pop(), list(rows.values())


def _fields(text: str, file: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield number and fields of each line that is not blank."""
    lines = text.splitlines()
    if "|" in text.strip().partition("\n")[0]:
        table: Iterable[list[str]] = (line.split("|") for line in lines)
        first = 1
    else:
        reader = csv.reader(lines)
        try:
            header, *table = reader
        except csv.Error as error:
            raise UserError(f"{file}, line {reader.line_num}: neither a fold nor CSV ({error})") from None
        if len(header) != 4 or (header[0], header[3]) != ("filename", "split"):
            raise UserError(
                f"{file} is neither a frozen split nor an official fold: expected JSON, lines "
                "filename|magnification|fold|train-or-test, or a table with the columns filename, "
                "magnification, number, split"
            )
        first = 2
    for line, fields in enumerate(table, start=first):
        if any(field.strip() for field in fields):
            yield line, [field.strip() for field in fields]


def _row(line: int, fields: list[str]) -> tuple[FoldRow, int]:
    if len(fields) != 4:
        raise ValueError(f"{len(fields)} fields instead of 4")
    name, magnification, number, split = fields
    image = parse_name(name)
    if magnification != image.column("magnification").removesuffix("X"):
        raise ValueError(f"magnification {magnification}, but {name}")
    if split not in _SPLITS:
        raise ValueError(f"{split!r} instead of train or test")
    if not number.isdecimal():
        raise ValueError(f"{number!r} instead of the fold's number")
    return FoldRow(line, name, image.patient, split), int(number)
