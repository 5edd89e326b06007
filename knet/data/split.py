"""Splits of patients into train, validation and test: make, freeze and check them."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, ValidationError

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.split_units import PATIENT, SplitUnit
from knet.base.text import counted, natural_key, printable
from knet.data.grouping import PatientsByClass, patients_by_class, split_by_fold, split_by_share
from knet.data.official_folds import official_split, read_official_fold
from knet.data.source import ImageFile

_Settings = dict[str, str | int | float]


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
    unit: SplitUnit = PATIENT,
) -> Split:
    """Split patients by `file` if given, else by `folds` and `fold` if given, else by shares.

    The same patients, settings and seed always give the same split.

    Args:
        images: Images of the data set.
        classes: Class names.
        slices: Columns whose values should be in every split; the split has a note on each that is not.
        seed: Seed of the order in which patients are assigned.
        test_share: Fraction of all patients for test, class by class.
        validation_share: Fraction of the patients not for test, class by class.
        folds: Number of folds of a cross-validation.
        fold: Index, from 0, of the fold for test.
        file: A frozen split of an earlier run, or an official fold; recognised by its content.
        unit: What is divided in place of patients, to measure a leak; excludes `file`.

    Raises:
        UserError: A class has too few patients, or the file is unreadable or of other data; the message
            states the remedy.
    """
    groups = (replace(image, patient=_group(image, unit)) for image in images)
    patients = patients_by_class(images if unit == PATIENT else groups, classes=classes, seed=seed)
    shares: _Settings = {"validation_share": validation_share}
    if unit != PATIENT:
        shares["unit"] = unit
    if file is not None:
        split = _split_by_file(images, patients, Path(file), validation_share, seed)
    elif folds is not None and fold is not None:
        assignment = split_by_fold(patients, folds=folds, fold=fold, validation_share=validation_share)
        made: _Settings = {"by": "folds", "folds": folds, "fold": fold, **shares}
        split = Split(seed=seed, made=made, assignment=assignment)
    else:
        assignment = split_by_share(patients, test_share=test_share, validation_share=validation_share)
        split = Split(
            seed=seed, made={"by": "shares", "test_share": test_share, **shares}, assignment=assignment
        )
    notes = (*split.notes, *slice_notes(images, split.split_of, slices=slices))
    return split.model_copy(update={"notes": tuple(dict.fromkeys(notes))})


def _group(image: ImageFile, unit: SplitUnit) -> str:
    """Return the name of the group of an image that is not divided."""
    if unit == "image":
        return image.path
    if unit == "folder":
        try:
            return f"{image.patient} {image.column('slide')}"
        except KeyError:
            raise UserError(
                "data.split.unit: folder needs the column slide, which the data lack; add it to the manifest"
            ) from None
    return image.patient


def _split_by_file(
    images: Collection[ImageFile],
    patients: PatientsByClass,
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
        raise UserError(f"data.split.file: {file} is empty; name a split file or a fold")
    if text.lstrip().startswith("{"):
        split = read_split(text, file)
        notes = check_frozen_split(split, patients, file=file)
        return split.model_copy(update={"notes": (*split.notes, *notes)})
    number, rows = read_official_fold(text, file)
    assignment, notes = official_split(images, patients, rows, file=file, validation_share=validation_share)
    made: _Settings = {
        "by": "official fold",
        "fold": number,
        "file_sha256": hashlib.sha256(content).hexdigest(),
        "validation_share": validation_share,
    }
    return Split(seed=seed, made=made, assignment=assignment, notes=tuple(notes))


class Split(BaseModel):
    """Split of each patient (or other unit), the settings that it was made with, and notes."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1  # of the file format
    seed: int
    made: dict[str, str | int | float]  # method and its settings
    assignment: dict[str, Literal["train", "validation", "test"]]  # split by patient, or by group of the unit
    notes: tuple[str, ...] = ()  # such as a slice that is not in every split

    @property
    def unit(self) -> SplitUnit:
        """Unit that is not divided; splits by patient do not state it."""
        return cast(SplitUnit, self.made.get("unit", PATIENT))

    def split_of(self, image: ImageFile) -> str:
        """Return the split of an image."""
        return self.assignment[_group(image, self.unit)]

    @property
    def sha256(self) -> str:
        """SHA-256, in hexadecimal, of the content as canonical JSON: sorted keys, no spaces, ASCII."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    def frozen(self) -> dict[str, Any]:
        """Return the content of a split file: the fields and their hash."""
        return {**self.model_dump(mode="json"), "sha256": self.sha256}


def read_split(text: str, file: Path) -> Split:
    """Parse the content of a split file.

    Args:
        text: A JSON object, as `Split.frozen` returns it.
        file: Path of the file, for messages.

    Raises:
        UserError: The content is no split file of this version, or was edited; the message states the remedy.
    """
    try:
        fields = json.loads(text)
        stated = fields.pop("sha256", None)
        split = Split.model_validate(fields)
    except (ValueError, RecursionError) as error:  # the latter at deeply nested brackets
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
    "give the file as a run wrote it, or remove data.split.file and have a new split made by "
    "data.split.test_share or data.split.folds"
)


def check_frozen_split(split: Split, patients: PatientsByClass, *, file: Path) -> list[str]:
    """Check that a split covers the data.

    Args:
        split: The split read from `file`.
        patients: Patients of each class in the data (`patients_by_class`).
        file: Path of the split, for messages.

    Returns:
        A note on the patients of the split that are not in the data; empty if all are.

    Raises:
        UserError: A patient of the data is not in the split, or a split lacks patients of a class.
    """
    if split.unit != PATIENT:
        raise UserError(
            f"data.split.file: {file} is a split by {split.unit}, which leaks patients; {_REMEDY}"
        )
    all_patients = {patient for members in patients.values() for patient in members}
    unknown = sorted(all_patients - split.assignment.keys())
    if unknown:
        raise UserError(
            f"{file} lacks {len(unknown)} patients of the data: {', '.join(unknown)}; remove their "
            "images from the data, or remove data.split.file to have a new split made"
        )
    for label, members in patients.items():
        for name in schema_names.SPLITS:
            if name not in {split.assignment[patient] for patient in members}:
                raise UserError(
                    f"by {file} no {label} patient of the data is for {name}; give the data that it was made "
                    "for, or remove data.split.file to have a new split made"
                )
    absent = sorted(split.assignment.keys() - all_patients)
    return (
        [f"{len(absent)} patients of {file.name} are not in the data: {', '.join(absent)}"] if absent else []
    )


def slice_notes(
    images: Iterable[ImageFile], split_of: Callable[[ImageFile], str], *, slices: Sequence[str]
) -> list[str]:
    """List the values of slice columns that a split lacks; a value of fewer than three patients must be one.

    Args:
        images: Images of the data set.
        split_of: Returns the split of an image.
        slices: Names of the slice columns.

    Returns:
        A line for each value.
    """
    patients: dict[tuple[str, str], set[str]] = defaultdict(set)
    splits: dict[tuple[str, str], set[str]] = defaultdict(set)
    for image in images:
        for column, value in image.columns:
            if column in slices:
                patients[column, value].add(image.patient)
                splits[column, value].add(split_of(image))
    notes = []
    for column, value in sorted(patients, key=lambda key: (slices.index(key[0]), natural_key(key[1]))):
        members = patients[column, value]
        missing = [split for split in schema_names.SPLITS if split not in splits[column, value]]
        if missing:
            few = ", too few for three splits" if len(members) < len(schema_names.SPLITS) else ""
            notes.append(
                f"{column} {value}: {counted(len(members), 'patient')}{few}; none in {' and '.join(missing)}"
            )
    return notes
