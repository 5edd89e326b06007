"""Grouped splits: patients into train, validation and test, and into folds, class by class."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from knet.base import schema_names
from knet.base.errors import UserError
from knet.base.text import list_names
from knet.data.source import ImageFile

# Patients of each class, in random order; with more than two classes a patient may have images of several.
PatientsByClass = Mapping[str, Sequence[str]]
_SINGLE_FOLD_PARTS = 5  # a single fold holds out one part of so many


def patients_by_class(
    images: Iterable[ImageFile], *, classes: Sequence[str], seed: int
) -> dict[str, list[str]]:
    """List the patients of each class in an order that depends on them and the seed alone.

    Args:
        images: Images of the data set, in any order.
        classes: Class names.
        seed: Seed of the order.

    Raises:
        UserError: A class has no image, or there are two classes and a patient has images of both.
    """
    members: dict[str, set[str]] = {label: set() for label in classes}
    labels: dict[str, str] = {}
    for image in images:
        first = labels.setdefault(image.patient, image.label)
        if first != image.label and len(classes) == 2:
            raise UserError(
                f"patient {image.patient} has both {first} and {image.label} images; check {image.path}"
            )
        members[image.label].add(image.patient)
    shuffled = {}
    for label, of_class in members.items():
        if not of_class:
            number = "both" if len(classes) == 2 else "all"
            raise UserError(f"no {label} images: {number} classes, {list_names(classes)}, are needed")
        shuffled[label] = sorted(of_class)
        random.Random(f"{seed}/{label}").shuffle(shuffled[label])
    return shuffled


def strata(patients: PatientsByClass) -> dict[str, list[str]]:
    """Return the patients of each class, with those of several classes in the rarest of them alone.

    So the patients of a rare class are divided evenly (Sechidis et al., ECML PKDD 2011, section 3.2). Order
    and classes are those of the argument; a class may have no patients left.
    """
    stratum: dict[str, str] = {}
    for label in sorted(patients, key=lambda label: len(patients[label])):
        for patient in patients[label]:
            stratum.setdefault(patient, label)
    return {
        label: [patient for patient in members if stratum[patient] == label]
        for label, members in patients.items()
    }


def check_every_class(patients: PatientsByClass, assignment: Mapping[str, str]) -> None:
    """Check that each split has patients of each class.

    Raises:
        UserError: A split has none of a class, whose few patients have images of other classes too.
    """
    for label, members in patients.items():
        present = {assignment[patient] for patient in members}
        missing = [name for name in schema_names.SPLITS if name not in present]
        if missing:
            raise UserError(
                f"too few patients: {label} has {len(members)} ({', '.join(sorted(members))}), and none of "
                f"them is for {' and '.join(missing)}; set another seed, or add images of other patients"
            )


def split_by_share(
    patients: PatientsByClass, *, test_share: float, validation_share: float
) -> dict[str, str]:
    """Assign each patient to a split by shares of each class.

    Shares are rounded to whole patients, at least one. With 0.10 and 0.20 that is 72, 18 and 10 % for train,
    validation and test, to within one patient in any class of four or more.

    Args:
        patients: Patients of each class (`patients_by_class`).
        test_share: Fraction of all patients, 0 to 1.
        validation_share: Fraction of the patients that are not for test, 0 to 1.

    Returns:
        Split by patient.

    Raises:
        UserError: A class has fewer than three patients.
    """
    assignment: dict[str, str] = {}
    for label, members in patients.items():
        if len(members) < len(schema_names.SPLITS):
            raise UserError(
                f"too few patients: {label} has {len(members)} ({', '.join(sorted(members))}), but train, "
                "validation and test need one each at least; add images of other patients"
            )
    for members in strata(patients).values():
        test, rest = hold_out(members, test_share, min_rest=2)
        assignment |= split_class(test, rest, validation_share=validation_share)
    check_every_class(patients, assignment)
    return assignment


def split_by_fold(
    patients: PatientsByClass, *, folds: int, fold: int, validation_share: float
) -> dict[str, str]:
    """Assign each patient to a split, with one fold for test.

    Over all folds each patient is for test once.

    Args:
        patients: Patients of each class (`patients_by_class`).
        folds: Number of folds.
        fold: Index of the fold for test, from 0.
        validation_share: Fraction of the patients of the other folds, class by class and at least one.

    Returns:
        Split by patient.

    Raises:
        UserError: A class has fewer patients than folds, or fewer than two beside a fold.
    """
    for label, members in patients.items():
        largest_fold = -(-len(members) // folds)
        if len(members) < folds or len(members) - largest_fold < 2:
            raise UserError(
                f"too few patients for data.split.folds={folds}: {label} has {len(members)} "
                f"({', '.join(sorted(members))}); have fewer folds, or add images of other patients"
            )
    groups = strata(patients).values()
    fold_of = grouped_folds(groups, folds=folds)
    assignment: dict[str, str] = {}
    for members in groups:
        test = [patient for patient in members if fold_of[patient] == fold]
        rest = [patient for patient in members if fold_of[patient] != fold]
        assignment |= split_class(test, rest, validation_share=validation_share)
    check_every_class(patients, assignment)
    return assignment


def grouped_folds(classes: Iterable[Iterable[str]], *, folds: int) -> dict[str, int]:
    """Assign each patient to a fold, in turn.

    The sizes of folds differ by one patient at most, in each class and in all.

    Args:
        classes: Patients of each class, in random order; none is in two classes.
        folds: Number of folds.

    Returns:
        Index of the fold, from 0, by patient.
    """
    return {patient: position % folds for position, patient in enumerate(chain(*classes))}


def held_out_masks(
    patients: Sequence[str], labels: Sequence[int], *, classes: Sequence[str], folds: int, seed: int
) -> list[NDArray[np.bool_]]:
    """Mark the training images that each fold of a search holds out.

    Several folds hold every image out once; a single one holds out a fifth of the patients. Each class is in
    every fold, unless most of its patients have images of a rarer one (`strata`).

    Args:
        patients: Patient of each image.
        labels: Label of each image, an index into the classes.
        classes: Class names in the order of the labels.
        folds: Number of folds.
        seed: Seed of the order in which patients are assigned to folds.

    Returns:
        A mask [images] for each fold, true where it holds the image out.

    Raises:
        UserError: A class has too few patients (`check_tuning_folds`).
    """
    image_patients, image_labels = np.asarray(patients), np.asarray(labels)
    members = {
        name: sorted(set(image_patients[image_labels == label].tolist()))
        for label, name in enumerate(classes)
    }
    counts = {name: len(of_class) for name, of_class in members.items()}
    check_tuning_folds(counts, folds=folds)
    parts = folds if folds > 1 else min(_SINGLE_FOLD_PARTS, *counts.values())
    rng = np.random.default_rng(seed)
    groups = strata(members).values()
    fold_of = grouped_folds([rng.permutation(group).tolist() for group in groups], folds=parts)
    image_folds = np.array([fold_of[patient] for patient in image_patients.tolist()])
    return [image_folds == fold for fold in range(folds)]


def check_tuning_folds(patient_counts: Mapping[str, int], *, folds: int) -> None:
    """Check that each class has enough training patients for the folds of a search.

    Args:
        patient_counts: Training patients by class.
        folds: Number of folds (`tuning.folds`).

    Raises:
        UserError: A class has fewer patients than folds, or fewer than two.
    """
    rarest = min(patient_counts, key=lambda label: patient_counts[label])
    fewest, needed = patient_counts[rarest], max(folds, 2)
    if fewest >= needed:
        return
    remedy = f"set tuning.folds={fewest if fewest > 2 else 1}" if fewest >= 2 else "set tuning=null"
    raise UserError(
        f"tuning.folds: {folds} needs {needed} training patients of each class, and {rarest} has {fewest}; "
        f"{remedy}, or give more of them to training"
    )


def hold_out(patients: Sequence[str], share: float, *, min_rest: int) -> tuple[Sequence[str], Sequence[str]]:
    """Divide patients into the first `share` of them and the rest.

    Args:
        patients: Patients of one class, in random order.
        share: Fraction to hold out, 0 to 1, rounded to whole patients and at least one.
        min_rest: Minimum number of patients in the rest; with no more than these, none is held out.

    Returns:
        Held-out patients and the rest.
    """
    count = max(0, min(max(1, round(share * len(patients))), len(patients) - min_rest))
    return patients[:count], patients[count:]


def split_class(test: Sequence[str], rest: Sequence[str], *, validation_share: float) -> dict[str, str]:
    """Assign the patients of one class to splits.

    Args:
        test: Patients for test.
        rest: Patients for validation and train, in random order; a single one is for train.
        validation_share: Fraction of `rest`, in whole patients and at least one.

    Returns:
        Split by patient.
    """
    validation, train = hold_out(rest, validation_share, min_rest=1)
    return {
        **dict.fromkeys(test, schema_names.TEST),
        **dict.fromkeys(validation, schema_names.VALIDATION),
        **dict.fromkeys(train, schema_names.TRAIN),
    }
