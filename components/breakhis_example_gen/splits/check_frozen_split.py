"""Checks a split that was made before against the data of today."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from components.breakhis_example_gen.splits.split import Split
from pipeline import features
from pipeline.errors import UserError


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
        for name in features.SPLITS:
            if name not in {split.assignment[patient] for patient in of_class}:
                raise UserError(
                    f"by {file} no {label} patient of the data is for {name}; give the data that it was made "
                    "for, or take data.split.file out to have a new split made"
                )
    absent = sorted(split.assignment.keys() - patients)
    return (
        [f"{len(absent)} patients of {file.name} are not in the data: {', '.join(absent)}"] if absent else []
    )
