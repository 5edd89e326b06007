"""Tells which slices of the data a split cannot, or does not, have everywhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from components.breakhis_example_gen.image_file import ImageFile
from pipeline import features


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
        missing = [split for split in features.SPLITS if split not in present]
        if missing:
            count = f"{len(of_value)} patient{'s' if len(of_value) > 1 else ''}"
            few = ", too few for three splits" if len(of_value) < len(features.SPLITS) else ""
            notes.append(f"{column} {value}: {count}{few}; none in {' and '.join(missing)}")
    return notes
