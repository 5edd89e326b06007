"""Makes a split by patient of an official fold, which goes by image."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from knet.base.errors import UserError
from knet.base.text import list_problems
from knet.data.breakhis import parse_name
from knet.data.grouping import divide_class
from knet.data.source import ImageFile

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


_SPLITS = ("train", "test")


@dataclass(frozen=True)
class FoldRow:
    """What a fold says of one image."""

    line: int  # in the file, from 1
    name: str  # of the image file
    patient: str
    split: str  # train or test


def read_official_fold(text: str, file: Path) -> tuple[int, list[FoldRow]]:
    """The number of a fold, and its rows.

    The form is that of `dsfold1.txt`, `filename|magnification|fold|train-or-test` without a header, or a CSV
    table of the same four columns, whose header names the first `filename` and the last `split`.

    Raises:
        UserError: lines are of another form, contradict themselves or each other, or there are none; the text
            names `file` and their numbers.
    """
    rows: dict[str, FoldRow] = {}
    numbers: set[int] = set()
    problems = []
    for line, fields in _fields(text, file):
        try:
            row, number = _row(line, fields)
            if row.name in rows:
                raise ValueError(f"{row.name} stands in line {rows[row.name].line} too")
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
    """The four fields of each line that has any."""
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
                f"{file} is neither a split file of ours nor an official fold: expected JSON, lines "
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
