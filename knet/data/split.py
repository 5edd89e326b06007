"""Makes the split that the configuration asks for."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.text import printable
from knet.data.grouping import grouped_folds, grouped_split, patient_order
from knet.data.official_folds import official_split, read_official_fold
from knet.data.source import ImageFile

_Made = dict[str, str | int | float]


def make_split(
    images: Collection[ImageFile],
    *,
    classes: Sequence[str],
    slices: Sequence[str],
    seed: int,
    test_share: float,
    validation_share: float,
    folds: int | None = None,
    fold: int | None = None,
    file: str | Path | None = None,
) -> Split:
    """Divides patients: by a file where there is one, else by folds where they are set, else by shares.

    The same patients, settings and seed always give the same split.

    Args:
        images: of the data.
        classes: names of the classes.
        slices: columns whose values should be in every split; where they are not, the split has a note.
        seed: of the order in which patients are taken.
        test_share: of all patients, class by class.
        validation_share: of the patients that are not for test, likewise.
        folds: of a cross-validation.
        fold: the one of them for test, from 0.
        file: a split that was made before, or an official fold; its content tells which.

    Raises:
        UserError: the patients cannot be divided so, or the file does not fit; the text says what to do.
    """
    order = patient_order(images, classes=classes, seed=seed)
    shares: _Made = {"validation_share": validation_share}
    if file is not None:
        split = _by_file(images, order, Path(file), validation_share, seed)
    elif folds is not None and fold is not None:
        assignment = grouped_folds(order, folds=folds, fold=fold, validation_share=validation_share)
        made: _Made = {"by": "folds", "folds": folds, "fold": fold, **shares}
        split = Split(seed=seed, made=made, assignment=assignment)
    else:
        assignment = grouped_split(order, test_share=test_share, validation_share=validation_share)
        split = Split(
            seed=seed, made={"by": "shares", "test_share": test_share, **shares}, assignment=assignment
        )
    found = slice_notes(images, split.assignment, slices=slices)
    return split.model_copy(update={"notes": tuple(dict.fromkeys((*split.notes, *found)))})


def _by_file(
    images: Collection[ImageFile],
    order: Mapping[str, Sequence[str]],
    file: Path,
    validation_share: float,
    seed: int,
) -> Split:
    try:
        content = file.read_bytes()
        text = content.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"data.split.file: cannot read {file}: {error}; name a split file or a fold"
        ) from None
    if not text.strip():
        raise UserError(f"data.split.file: {file} is empty")
    if text.lstrip().startswith("{"):
        split = read_split(text, file)
        notes = check_frozen_split(split, order, file=file)
        return split.model_copy(update={"notes": (*split.notes, *notes)})
    number, rows = read_official_fold(text, file)
    assignment, notes = official_split(images, order, rows, file=file, validation_share=validation_share)
    made: _Made = {
        "by": "official fold",
        "fold": number,
        "file_sha256": hashlib.sha256(content).hexdigest(),
        "validation_share": validation_share,
    }
    return Split(seed=seed, made=made, assignment=assignment, notes=tuple(notes))


class Split(BaseModel):
    """The split of each patient, how it was made, and what to know about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1  # of this format
    seed: int
    made: dict[str, str | int | float]  # how, with the settings that bear on it
    assignment: dict[str, Literal["train", "validation", "test"]]  # by patient
    notes: tuple[str, ...] = ()  # such as a slice that is not in every split

    @property
    def sha256(self) -> str:
        """Of the content in canonical JSON: sorted keys, no spaces, ASCII; in hexadecimal."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    def frozen(self) -> dict[str, Any]:
        """The content of a split file: the fields and their hash, for any JSON writer."""
        return {**self.model_dump(mode="json"), "sha256": self.sha256}


def read_split(text: str, file: Path) -> Split:
    """Reads the content of a split file, a JSON object, back.

    Raises:
        UserError: the content is not a whole split file, or was changed since it was written; the text names
            `file` and the remedy.
    """
    try:
        fields = json.loads(text)
        stated = fields.pop("sha256", None)
        split = Split.model_validate(fields)
    except (ValueError, RecursionError) as error:  # the latter of brackets in brackets
        reason = str(error)
        if isinstance(error, ValidationError):
            problem = error.errors()[0]
            reason = f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
        raise UserError(
            f"{file} is not a split file of this version ({printable(reason)}); {_REMEDY}"
        ) from None
    if split.sha256 != stated:
        raise UserError(f"{file} was changed after it was written: its hash does not fit; {_REMEDY}")
    return split


_REMEDY = (
    "give the file as a run wrote it, or take data.split.file out and have a new split made by "
    "data.split.test_share or data.split.folds"
)


def check_frozen_split(split: Split, order: Mapping[str, Sequence[str]], *, file: Path) -> list[str]:
    """Checks that a split covers the data, and returns what to know about it.

    Args:
        split: as it was read from `file`.
        order: the patients of each class in the data (`patient_order`).
        file: where the split stands.

    Raises:
        UserError: a patient of the data is not in the split, or a split has no patient of some class.
    """
    patients = {patient for of_class in order.values() for patient in of_class}
    unknown = sorted(patients - split.assignment.keys())
    if unknown:
        raise UserError(
            f"{file} does not know {len(unknown)} patients of the data: {', '.join(unknown)}; take their "
            "images out of the data, or take data.split.file out to have a new split made"
        )
    for label, of_class in order.items():
        for name in schema_names.SPLITS:
            if name not in {split.assignment[patient] for patient in of_class}:
                raise UserError(
                    f"by {file} no {label} patient of the data is for {name}; give the data that it was made "
                    "for, or take data.split.file out to have a new split made"
                )
    absent = sorted(split.assignment.keys() - patients)
    return (
        [f"{len(absent)} patients of {file.name} are not in the data: {', '.join(absent)}"] if absent else []
    )


def slice_notes(
    images: Iterable[ImageFile], assignment: Mapping[str, str], *, slices: Sequence[str]
) -> list[str]:
    """One line a value of a column that is missing in a split, as one of fewer than three patients must be.

    Args:
        images: of the data.
        assignment: the split of each patient.
        slices: names of columns.
    """
    patients: dict[tuple[str, str], set[str]] = defaultdict(set)
    for image in images:
        for column, value in image.columns:
            if column in slices:
                patients[column, value].add(image.patient)
    notes = []
    for column, value in sorted(patients, key=lambda key: (slices.index(key[0]), key[1])):
        of_value = patients[column, value]
        present = {assignment[patient] for patient in of_value}
        missing = [split for split in schema_names.SPLITS if split not in present]
        if missing:
            count = f"{len(of_value)} patient{'s' if len(of_value) > 1 else ''}"
            few = ", too few for three splits" if len(of_value) < len(schema_names.SPLITS) else ""
            notes.append(f"{column} {value}: {count}{few}; none in {' and '.join(missing)}")
    return notes
