"""Divides patients by shares, class by class."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

from knet.base import schema_names
from knet.base.errors import UserError
from knet.data.source import ImageFile


def grouped_split(
    order: Mapping[str, Sequence[str]], *, test_share: float, validation_share: float
) -> dict[str, str]:
    """The split of each patient: in each class `test_share` for test, `validation_share` of the others.

    Counted in patients and rounded to whole ones, at least one each. From 0.10 and 0.20 come 72, 18 and 10 %
    for train, validation and test, to within one patient in any class of four or more.

    Args:
        order: the patients of each class (`patient_order`).
        test_share: of all patients.
        validation_share: of those that are not for test.

    Raises:
        UserError: a class has too few patients for three splits.
    """
    assignment: dict[str, str] = {}
    for label, patients in order.items():
        if len(patients) < len(schema_names.SPLITS):
            raise UserError(
                f"too few patients: {label} has {len(patients)} ({', '.join(sorted(patients))}), but train, "
                "validation and test need one each at least; add images of other patients"
            )
        test, others = hold_out(patients, test_share, leave=2)
        assignment |= divide_class(test, others, validation_share=validation_share)
    return assignment


def grouped_folds(
    order: Mapping[str, Sequence[str]], *, folds: int, fold: int, validation_share: float
) -> dict[str, str]:
    """The split of each patient where one fold is for test; over all folds each patient is for test once.

    Patients are dealt to the folds in turn, so that the sizes of folds differ by one patient at most, in each
    class and in all.

    Args:
        order: the patients of each class (`patient_order`).
        folds: how many there are.
        fold: the one for test, from 0.
        validation_share: of the patients of other folds, class by class and at least one.

    Raises:
        UserError: a class has too few patients for a fold each, or for train and validation beside a fold.
    """
    for label, patients in order.items():
        beside = len(patients) - -(-len(patients) // folds)  # the largest fold
        if len(patients) < folds or beside < 2:
            raise UserError(
                f"too few patients for data.split.folds={folds}: {label} has {len(patients)} "
                f"({', '.join(sorted(patients))}); have fewer folds, or add images of other patients"
            )
    of_fold = {patient: index % folds for index, patient in enumerate(chain(*order.values()))}
    assignment: dict[str, str] = {}
    for patients in order.values():
        test = [patient for patient in patients if of_fold[patient] == fold]
        others = [patient for patient in patients if of_fold[patient] != fold]
        assignment |= divide_class(test, others, validation_share=validation_share)
    return assignment


def hold_out(patients: Sequence[str], share: float, *, leave: int) -> tuple[Sequence[str], Sequence[str]]:
    """The first `share` of the patients, in whole patients and at least one, and the others.

    Args:
        patients: of one class, in random order; more than `leave`.
        share: between 0 and 1.
        leave: how many must be among the others at least.
    """
    count = min(max(1, round(share * len(patients))), len(patients) - leave)
    return patients[:count], patients[count:]


def divide_class(test: Sequence[str], others: Sequence[str], *, validation_share: float) -> dict[str, str]:
    """The split of each patient.

    Args:
        test: the patients for test.
        others: those for validation and train, in random order; two or more.
        validation_share: of the others, in whole patients and at least one.
    """
    validation, train = hold_out(others, validation_share, leave=1)
    return {
        **dict.fromkeys(test, "test"),
        **dict.fromkeys(validation, "validation"),
        **dict.fromkeys(train, "train"),
    }


def patient_order(images: Iterable[ImageFile], *, classes: Sequence[str], seed: int) -> dict[str, list[str]]:
    """The patients of each class in an order that depends on them and the seed, not on the order of images.

    Raises:
        UserError: a class has no image, or a patient is in two classes.
    """
    labels: dict[str, str] = {}
    for image in images:
        if labels.setdefault(image.patient, image.label) != image.label:
            raise UserError(
                f"patient {image.patient} has both {labels[image.patient]} and {image.label} images; "
                f"check {image.path}"
            )
    order = {}
    for label in classes:
        patients = sorted(patient for patient, of in labels.items() if of == label)
        if not patients:
            raise UserError(f"no {label} images: both classes, {' and '.join(classes)}, are needed")
        random.Random(f"{seed}/{label}").shuffle(patients)
        order[label] = patients
    return order
