"""Divides patients into train, validation and test: class by class, never splitting a patient."""

from __future__ import annotations

import random
from collections.abc import Iterable

from components.breakhis_example_gen.image_file import ImageFile
from pipeline import features
from pipeline.errors import UserError


def split_patients(
    images: Iterable[ImageFile], *, test_share: float, validation_share: float, seed: int
) -> dict[str, str]:
    """Assigns each patient to a split; the same patients and seed always give the same assignment.

    In each class `test_share` of the patients are for test, and `validation_share` of the others for
    validation, rounded to whole patients and at least one each.

    Returns:
        The split of each patient, by accession.

    Raises:
        UserError: a class has no image or too few patients for three splits, or a patient is in both classes.
    """
    classes: dict[str, str] = {}
    for image in images:
        if classes.setdefault(image.patient, image.label) != image.label:
            raise UserError(
                f"patient {image.patient} has both benign and malignant images; check {image.path}"
            )
    assignment = {}
    for label in features.CLASSES:
        patients = sorted(patient for patient, of in classes.items() if of == label)
        _check_enough(label, patients)
        random.Random(f"{seed}/{label}").shuffle(patients)
        tests = max(1, round(test_share * len(patients)))
        validations = max(1, round(validation_share * (len(patients) - tests)))
        tests, validations = _leave_one_for_training(len(patients), tests, validations)
        for index, patient in enumerate(patients):
            is_test, is_validation = index < tests, index < tests + validations
            assignment[patient] = "test" if is_test else "validation" if is_validation else "train"
    return assignment


def _check_enough(label: str, patients: list[str]) -> None:
    if not patients:
        raise UserError(f"no {label} images: both classes, {' and '.join(features.CLASSES)}, are needed")
    if len(patients) < len(features.SPLITS):
        raise UserError(
            f"too few patients: {label} has {len(patients)} ({', '.join(patients)}), but train, "
            "validation and test need one each at least; add images of other patients"
        )


def _leave_one_for_training(patients: int, tests: int, validations: int) -> tuple[int, int]:
    while tests + validations >= patients:
        if validations > 1:
            validations -= 1
        else:
            tests -= 1
    return tests, validations
